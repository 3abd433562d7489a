"""ResNets: parameter counts as published; weights files of Keras load into ours and the other way round."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from conf.choices import Pixels
from conf.settings import Settings
from models.errors import UnusableInitialWeights
from models.plan import TrainingPlan
from models.workers import initial_weights


def count_trainable(model: Any) -> int:
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


@pytest.mark.parametrize(
    ("name", "parameters", "paper"),
    # He et al. 2015, table 6: 0.27, 0.46 and 0.85 million. For ResNet-20 on paper: kernels 3·9·16 + 6·9·16²
    # + (9·16·32 + 5·9·32²) + (9·32·64 + 5·9·64²) = 267,696; dense 64·10 + 10; normalization
    # 2·(7·16 + 6·32 + 6·64).
    # A further block in each stack adds 2·9·(16² + 32² + 64²) kernels and 2·2·(16 + 32 + 64) more.
    [
        ("resnet20", 267_696 + 650 + 1_376, 0.27),
        ("resnet32", 269_722 + 2 * (96_768 + 448), 0.46),
        ("resnet56", 269_722 + 6 * (96_768 + 448), 0.85),
    ],
)
def test_small_resnets_have_the_paper_s_parameters(name: str, parameters: int, paper: float) -> None:
    from models.architectures import ARCHITECTURES
    from models.nets.heads import logits

    model = ARCHITECTURES[name].build(logits(10), Pixels.UNIT)
    assert count_trainable(model) == parameters and round(parameters / 1e6, 2) == paper


@pytest.mark.parametrize(
    ("name", "parameters", "depth"),
    # He et al. 2015, table 1; torchvision publishes 11,689,512 for resnet18 and 21,797,672 for resnet34.
    [("resnet18", 11_689_512, 18), ("resnet34", 21_797_672, 34)],
)
def test_resnets_of_basic_blocks_have_the_published_parameters(
    name: str, parameters: int, depth: int
) -> None:
    from models.architectures import ARCHITECTURES
    from models.nets.heads import logits

    model = ARCHITECTURES[name].build(logits(1000), Pixels.UNIT)
    assert count_trainable(model) == parameters
    kernels = [v for v in model.variables if v.name == "kernel" and "_0_conv" not in v.path]
    assert len(kernels) == depth
    assert model.get_layer("conv5_block1_out").output.shape == (None, 7, 7, 512)


@pytest.fixture(scope="module")
def ours() -> Any:
    from models.architectures import ARCHITECTURES
    from models.nets.heads import logits

    return ARCHITECTURES["resnet50"].build(logits(1000), Pixels.CAFFE)


@pytest.fixture(scope="module")
def theirs() -> Any:
    """Keras' ResNet-50 with random variables, so that each of them affects the output."""
    import keras

    model = keras.applications.ResNet50(weights=None, classifier_activation=None)
    random = np.random.default_rng(4)
    for variable in model.variables:
        if "kernel" not in variable.path:
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
    return model


def test_resnet50_is_that_of_keras_applications(ours: Any, theirs: Any) -> None:
    assert ours.count_params() == 25_636_712 == theirs.count_params()
    names = [(v.path, v.shape) for v in theirs.variables if "predictions" not in v.path]
    assert [(v.path, v.shape) for v in ours.variables if "logits" not in v.path] == names


def photographs() -> Any:
    return np.random.default_rng(5).uniform(0, 255, (2, 224, 224, 3)).astype(np.float32)


def keras_outputs(model: Any) -> Any:
    """Output of Keras' ResNet-50 with Keras' own preprocessing."""
    import keras

    return np.asarray(model(keras.applications.resnet50.preprocess_input(photographs())))


def outputs_match(found: Any, expected: Any) -> bool:
    """Whether two models give the same outputs, and different ones for the two pictures."""
    size = np.abs(expected).max()
    difference = np.abs(expected[0] - expected[1]).max()
    return bool(np.abs(found - expected).max() < 1e-4 * size < 1e-2 * difference)


def save_weights(model: Any, path: Path) -> Path:
    """Save the weights: in the format of Keras 3 if the name ends in .weights.h5, else of Keras 1 and 2."""
    from keras.src.legacy.saving import legacy_h5_format

    if path.name.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        with h5py.File(path, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return path


@pytest.mark.parametrize("name", ["keras.weights.h5", "resnet50_weights_tf_dim_ordering_tf_kernels.h5"])
def test_keras_weights_give_the_same_outputs_in_our_model(
    name: str, ours: Any, theirs: Any, tmp_path: Path
) -> None:
    from models.nets import weights

    weights.load(ours, "resnet50", save_weights(theirs, tmp_path / name))
    assert outputs_match(np.asarray(ours(photographs())), keras_outputs(theirs))


def test_our_weights_give_the_same_outputs_in_keras(ours: Any, theirs: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(6)
    for variable in ours.variables:
        if "kernel" not in variable.path:
            variable.assign(random.uniform(0.6, 1.4, variable.shape))
    theirs.load_weights(save_weights(ours, tmp_path / "ours.weights.h5"))
    assert outputs_match(np.asarray(ours(photographs())), keras_outputs(theirs))


@pytest.mark.parametrize("name", ["notop.weights.h5", "notop.h5"])
def test_weights_without_top_leave_the_head_unchanged(
    name: str, ours: Any, theirs: Any, tmp_path: Path
) -> None:
    import keras

    from models.nets import weights
    from models.nets.heads import feature_extractor

    bare = keras.applications.ResNet50(weights=None, include_top=False, pooling="avg")
    for variable in bare.variables:
        if "kernel" not in variable.path:
            variable.assign(np.random.default_rng(7).uniform(0.5, 1.5, variable.shape))
    head = ours.get_layer("logits").kernel.numpy()
    weights.load(ours, "resnet50", save_weights(bare, tmp_path / name))
    assert np.array_equal(ours.get_layer("logits").kernel.numpy(), head)
    assert outputs_match(np.asarray(feature_extractor(ours)(photographs())), keras_outputs(bare))


def plan(settings: Settings, **given: Any) -> TrainingPlan:
    return TrainingPlan.of(settings, "any", 2, **given)


def test_a_head_for_other_labels_is_new_and_pixels_follow_the_file(
    theirs: Any, settings: Settings, tmp_path: Path
) -> None:
    path = save_weights(theirs, tmp_path / "published.h5")
    chosen = plan(settings, architecture="resnet50", weights=str(path))
    resolved, start = initial_weights.resolve(settings, chosen, ("cat", "dog", "owl"))
    assert start and resolved.pixels == Pixels.CAFFE
    assert [value.shape for value in start.values[-2:]] == [(2048, 3), (3,)]
    assert np.array_equal(start.values[0], theirs.variables[0].numpy())
    unchanged_plan, no_start = initial_weights.resolve(settings, plan(settings), ("cat", "dog"))
    assert unchanged_plan.pixels == Pixels.UNIT and no_start is None


def test_weights_that_do_not_fit_are_refused_in_one_line(settings: Settings, tmp_path: Path) -> None:
    from models.architectures import ARCHITECTURES
    from models.nets.heads import logits

    other = ARCHITECTURES["resnet32"].build(logits(4), Pixels.UNIT)
    with h5py.File(tmp_path / "strange.weights.h5", "w") as strange:
        strange["layers/somewhere/vars/0"] = np.zeros(3)
    (tmp_path / "text.h5").write_text("no weights")
    (tmp_path / "model.keras").write_text("no weights")
    for path, cause in (
        (save_weights(other, tmp_path / "other.weights.h5"), "does not fit resnet20"),
        (save_weights(other, tmp_path / "old.h5"), "does not fit resnet20"),
        (tmp_path / "strange.weights.h5", "does not fit resnet20"),
        (tmp_path / "gone.h5", "does not exist"),
        (tmp_path / "text.h5", "is not an HDF5 file"),
        (tmp_path / "model.keras", "goes to --from"),
    ):
        with pytest.raises(UnusableInitialWeights, match=cause) as raised:
            initial_weights.resolve(settings, plan(settings, weights=str(path)), ("cat", "dog"))
        assert "\n" not in str(raised.value) and str(path) in str(raised.value)
