"""Mixed precision: dtypes of the layers, and loss scaling. One worker, no cluster."""

from typing import Any

import numpy as np
import pytest

from conf.settings import Settings
from models.pictures.inputs import BatchSchedule
from models.plan import TrainingPlan
from tests.support import tiny


def plan(settings: Settings, **given: Any) -> TrainingPlan:
    chosen = {"epochs": 1, "warmup_epochs": 0.0, "learning_rate": 0.1, "batch_size": 8} | given
    return TrainingPlan.of(settings, "any", 1, **chosen)


def learner(settings: Settings, precision: str, **given: Any) -> Any:
    from models.workers.learner import Learner

    return Learner(plan(settings, precision=precision, **given), BatchSchedule(8, 50), 4)


def batch() -> tuple[Any, Any]:
    import tensorflow as tf

    random = np.random.default_rng(0)
    images = np.stack([tiny.picture(number % 4, random, 32) for number in range(8)])
    return tf.constant(images), tf.constant(np.arange(8, dtype=np.int32) % 4)


def test_without_a_gpu_auto_is_float32(settings: Settings) -> None:
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    trained = learner(settings, "auto")
    assert trained.precision == "float32"
    assert {layer.compute_dtype for layer in trained.model.layers} == {"float32"}


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_computes_in_16_bits_between_pixels_and_logits(
    precision: str, settings: Settings
) -> None:
    trained = learner(settings, precision)
    half = precision.removeprefix("mixed_")
    types = {layer.name: layer.compute_dtype for layer in trained.model.layers}
    assert types["conv2_block1_1_conv"] == types["conv2_block1_1_bn"] == half
    assert types["scaled"] == types["logits"] == "float32"
    assert {value.dtype for value in trained.values()} <= {
        np.dtype("float32"),
        np.dtype("int64"),
        np.dtype("int32"),
    }
    losses = [float(trained.step(*batch())[0]) for _ in range(8)]
    assert losses[-1] < losses[0] / 2
    # The saved model computes in float32, with the same variables.
    trained.update_export_model()
    assert {layer.compute_dtype for layer in trained.export_model.layers} == {"float32"}
    import tensorflow as tf

    images, _ = batch()
    sixteen = tf.nn.softmax(trained.model(images, training=False)).numpy()
    assert sixteen == pytest.approx(trained.export_model(images).numpy(), abs=0.02)


def test_a_scaled_step_equals_the_unscaled_one(settings: Settings) -> None:
    """All in float32: the scale is a power of two, so scaling alone changes no digit."""
    from models.nets import precision
    from models.workers import initial_weights

    unscaled, scaled = learner(settings, "float32"), learner(settings, "mixed_float16")
    with scaled.strategy.scope():
        import keras

        from models.nets.normalization import LayerCloner

        scaled.model = keras.models.clone_model(
            initial_weights.build_model(plan(settings), 4), clone_function=LayerCloner()
        )
        scaled._optimizer = precision.ScaledSGD(unscaled._optimizer._learning_rate, momentum=0.9)
        scaled._optimizer.build(scaled.model.trainable_variables)
    start = unscaled.values()[: len(unscaled.model.variables)]
    for variable, value in zip(scaled.model.variables, start, strict=True):
        variable.value.assign(value)
    for trained in (unscaled, scaled):
        trained.step(*batch())
        trained.step(*batch())
    for one, other in zip(unscaled.model.variables, scaled.model.variables, strict=True):
        assert np.allclose(one.numpy(), other.numpy(), atol=1e-6), one.path


def test_an_overflow_skips_the_step_and_halves_the_scale(settings: Settings) -> None:
    trained = learner(settings, "mixed_float16")
    optimizer = trained._optimizer
    trained.step(*batch())
    assert float(optimizer.scale.numpy()) == 2**15
    # At 2^40 gradients exceed float16's maximum of 65,504.
    optimizer.scale.value.assign(2.0**40)
    before = [variable.numpy() for variable in trained.model.trainable_variables]
    momenta = [variable.numpy() for variable in optimizer.momentums]
    trained.step(*batch())
    after = [variable.numpy() for variable in trained.model.trainable_variables]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(momenta, optimizer.momentums, strict=True))
    assert float(optimizer.scale.numpy()) == 2**24  # half of 2^40, limited to MAX_SCALE
    assert int(optimizer.iterations.numpy()) == 2


def test_the_scale_doubles_after_many_good_steps_and_is_kept_in_checkpoints(settings: Settings) -> None:
    from models.nets.precision import GROWTH_STEPS

    trained = learner(settings, "mixed_float16")
    trained._optimizer.scale.value.assign(4.0)
    trained._optimizer._good_steps.value.assign(GROWTH_STEPS - 2.0)
    trained.step(*batch())
    assert float(trained._optimizer.scale.numpy()) == 4
    trained.step(*batch())
    assert float(trained._optimizer.scale.numpy()) == 8
    resumed = learner(settings, "mixed_float16")
    resumed.assign(trained.values())
    assert float(resumed._optimizer.scale.numpy()) == 8
