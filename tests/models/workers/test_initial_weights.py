"""Initial weights from another model: heads, frozen layers, misfits. One worker, no cluster."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conf.choices import Pixels
from conf.errors import UsageError
from conf.sections import Lake
from conf.settings import Settings
from models.errors import UnknownModel, UnusableInitialWeights
from models.formats.export import KERAS
from models.nets import schedule
from models.pictures.inputs import BatchSchedule
from models.plan import TrainingPlan
from models.registry import model_cards
from models.runs.preflight import check_trainable
from models.runs.train import make_plan
from models.workers import initial_weights
from tests.support import tiny

CLASSES = 3


def plan(settings: Settings, **given: Any) -> TrainingPlan:
    chosen = {"epochs": 2, "batch_size": 4, "warmup_epochs": 0.0, "learning_rate": 1.0} | given
    return make_plan(settings, "any", 1, **chosen)


def learner(chosen: TrainingPlan, steps: int = 2, start: initial_weights.InitialWeights | None = None) -> Any:
    from models.workers.learner import Learner

    return Learner(chosen, BatchSchedule(4, steps), CLASSES, start)


def batch(number: int = 0) -> tuple[Any, Any]:
    import tensorflow as tf

    random = np.random.default_rng(number)
    images = random.integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    return tf.constant(images), tf.constant(random.integers(0, CLASSES, 4).astype(np.int32))


def changed(before: tuple[Any, ...], after: tuple[Any, ...], model: Any) -> set[str]:
    """Paths of the model's variables that differ."""
    paths = [variable.path for variable in model.variables]
    pairs = zip(paths, before, after, strict=False)
    return {path for path, a, b in pairs if not np.array_equal(a, b)}


def test_frozen_layers_keep_weights_and_statistics_and_learn_when_unfrozen(settings: Settings) -> None:
    made = learner(plan(settings))
    images, labels = batch()
    made.freeze(True)
    first = made.values()
    made.step(images, labels)
    second = made.values()
    assert changed(first, second, made.model) == {"logits/kernel", "logits/bias"}
    made.freeze(False)
    made.step(images, labels)
    third = made.values()
    everything = {variable.path for variable in made.model.variables}
    assert changed(second, third, made.model) == everything
    assert [value.shape for value in first] == [value.shape for value in third]


def test_frozen_normalization_stays_while_all_other_layers_learn(settings: Settings) -> None:
    made = learner(plan(settings, normalization="frozen"))
    normalization = {v.path for v in made.model.variables if "_bn/" in v.path}
    everything = {v.path for v in made.model.variables}
    for frozen, learning in (
        (False, everything - normalization),
        (True, {"logits/kernel", "logits/bias"}),
        (False, everything - normalization),
    ):
        made.freeze(frozen)
        before = made.values()
        made.step(*batch())
        assert changed(before, made.values(), made.model) == learning


@pytest.mark.faults  # slow
def test_a_run_resumed_in_either_stage_ends_like_an_undisturbed_one(settings: Settings) -> None:
    def run(made: Any, stages: list[bool], first: int) -> tuple[Any, ...]:
        for number, frozen in enumerate(stages, start=first):
            made.freeze(frozen)
            made.step(*batch(number))
        values: tuple[Any, ...] = made.values()
        return values

    chosen = plan(settings, weight_decay=0.01, learning_rate=0.1)
    stages = [True, True, False, False]
    whole = run(learner(chosen), stages, 0)
    for cut in (1, 2, 3):
        kept = run(learner(chosen), stages[:cut], 0)
        resumed = learner(chosen)
        resumed.assign(kept)
        again = run(resumed, stages[cut:], cut)
        assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(whole, again, strict=True))


def test_each_stage_has_its_own_warm_up_and_cosine() -> None:
    rates = schedule.rates(steps=6, warmup=1, top=1.0, frozen=2)
    # head: 1 step of climb, 1 of cosine; then 1 of climb and (1 + cos(pi k / 3)) / 2 for k = 0, 1, 2
    assert rates == pytest.approx([1, 1, 1, 1, 0.75, 0.25])
    smaller = schedule.rates(steps=6, warmup=1, top=1.0, frozen=2, unfrozen_rate=0.1)
    assert smaller == pytest.approx([1, 1, 0.1, 0.1, 0.075, 0.025])


def test_a_checkpoint_of_another_architecture_is_refused(settings: Settings) -> None:
    other = learner(plan(settings, architecture="resnet32"))
    with pytest.raises(
        UnusableInitialWeights,
        match=r"do not fit the .* of this resnet20: it belongs to another architecture",
    ):
        learner(plan(settings)).assign(other.values())


@pytest.fixture(scope="module")
def settings(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings with a lake of its own: an error names the newest models of the lake."""
    lake = Lake(root=str(tmp_path_factory.mktemp("initial-weights")))
    return settings.model_copy(update={"lake": lake})


@pytest.fixture(scope="module")
def model_id(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A ready ResNet-20 in the registry, of three labels, with caffe's pixels."""
    import keras

    from models.architectures import ARCHITECTURES
    from models.nets.heads import logits

    model = ARCHITECTURES["resnet20"].build(logits(CLASSES), Pixels.CAFFE)
    probabilities = keras.layers.Softmax(name="probabilities")(model.output)
    file = tmp_path_factory.mktemp("model") / KERAS
    keras.Model(model.input, probabilities, name=model.name).save(file)
    model_cards.artifact_storage(settings, "resnet20-trained").write(KERAS, file.read_bytes())
    card = model_cards.ModelCard("resnet20-trained", "any", "resnet20", 32, ("cat", "dog", "owl"))
    model_cards.write_card(settings, card)
    return card.model_id


def test_a_model_s_features_are_copied_and_its_head_for_the_same_labels(
    model_id: str, settings: Settings, tmp_path: Path
) -> None:
    import keras

    (tmp_path / "taken.keras").write_bytes(model_cards.artifact_storage(settings, model_id).read(KERAS))
    theirs = [value.numpy() for value in keras.models.load_model(tmp_path / "taken.keras").variables]
    for source, labels, kept in (
        (model_id, ("cat", "dog", "owl"), True),
        (model_id, ("cat", "dog", "elk"), False),
        (model_id, ("cat", "dog"), False),
        (str(tmp_path / "taken.keras"), ("cat", "dog", "owl"), False),
    ):
        chosen, start = initial_weights.resolve(settings, plan(settings, source=source), labels)
        assert chosen.architecture == "resnet20" and chosen.pixels == Pixels.CAFFE and start
        assert all(np.array_equal(a, b) for a, b in zip(start.values[:-2], theirs[:-2], strict=True))
        assert start.values[-2].shape == (64, len(labels))
        assert np.array_equal(start.values[-2], theirs[-2]) == kept
        starts_at = learner(chosen, start=start).values() if len(labels) == CLASSES else start.values
        assert all(np.array_equal(a, b) for a, b in zip(starts_at, start.values, strict=False))


def test_initial_weights_that_do_not_fit_are_refused_in_one_line(
    model_id: str, settings: Settings, tmp_path: Path
) -> None:
    import keras

    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)], name="dense").save(tmp_path / "dense.keras")
    (tmp_path / "text.keras").write_text("no model")
    for given, kind, cause in (
        ({"source": "resnet99"}, UnknownModel, f"no model 'resnet99': the newest are .*{model_id}"),
        ({"source": "gone.keras"}, UnusableInitialWeights, "does not exist"),
        ({"source": str(tmp_path / "text.keras")}, UnusableInitialWeights, "is no .keras file"),
        (
            {"source": str(tmp_path / "dense.keras")},
            UnusableInitialWeights,
            "architecture 'dense' is none of resnet20",
        ),
        (
            {"source": model_id, "architecture": "resnet32"},
            UnusableInitialWeights,
            "is a resnet20, not a resnet32",
        ),
    ):
        with pytest.raises(kind, match=cause) as raised:
            initial_weights.resolve(settings, plan(settings, **given), ("cat", "dog"))
        assert "\n" not in str(raised.value)


def test_plans_with_a_wrong_freeze_epochs_are_refused(settings: Settings) -> None:
    snapshot = tiny.snapshot(settings, "starts", (8, 4, 0))
    for given, cause in (
        ({"freeze_epochs": 1}, "--freeze-epochs 1 needs --pretrained, --from or --weights"),
        ({"freeze_epochs": 3, "weights": "w.h5"}, "must be between 0 and the 2 epochs"),
        ({"freeze_epochs": -1, "weights": "w.h5"}, "must be between 0 and the 2 epochs"),
    ):
        with pytest.raises(UsageError, match=cause):
            check_trainable(plan(settings, **given), snapshot)
