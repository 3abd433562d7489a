"""Sixteen bits: what is computed in them, what is not, and the loss's scale. One worker, no cluster."""

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
    made = learner(settings, "auto")
    assert made.precision == "float32"
    assert {layer.compute_dtype for layer in made.model.layers} == {"float32"}


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_computes_in_16_bits_between_pixels_and_logits(
    precision: str, settings: Settings
) -> None:
    made = learner(settings, precision)
    half = precision.removeprefix("mixed_")
    types = {layer.name: layer.compute_dtype for layer in made.model.layers}
    assert types["conv2_block1_1_conv"] == types["conv2_block1_1_bn"] == half
    assert types["scaled"] == types["logits"] == "float32"
    assert {value.dtype for value in made.values()} <= {
        np.dtype("float32"),
        np.dtype("int64"),
        np.dtype("int32"),
    }
    losses = [float(made.step(*batch())[0]) for _ in range(8)]
    assert losses[-1] < losses[0] / 2
    # What is saved computes in float32, with the same variables.
    made.update_plain()
    assert {layer.compute_dtype for layer in made.plain.layers} == {"float32"}
    import tensorflow as tf

    images, _ = batch()
    sixteen = tf.nn.softmax(made.model(images, training=False)).numpy()
    assert sixteen == pytest.approx(made.plain(images).numpy(), abs=0.02)


def test_a_scaled_step_is_the_unscaled_one(settings: Settings) -> None:
    """Computed in float32 throughout: a scale is a power of two, so only the scale itself could differ."""
    from models.nets import precision
    from models.workers import initial_weights

    whole, scaled = learner(settings, "float32"), learner(settings, "mixed_float16")
    with scaled.strategy.scope():
        import keras

        from models.nets.normalization import Sharing

        scaled.model = keras.models.clone_model(
            initial_weights.built(plan(settings), 4), clone_function=Sharing()
        )
        scaled._optimizer = precision.ScaledSGD(whole._optimizer._learning_rate, momentum=0.9)
        scaled._optimizer.build(scaled.model.trainable_variables)
    start = whole.values()[: len(whole.model.variables)]
    for variable, value in zip(scaled.model.variables, start, strict=True):
        variable.value.assign(value)
    for made in (whole, scaled):
        made.step(*batch())
        made.step(*batch())
    for one, other in zip(whole.model.variables, scaled.model.variables, strict=True):
        assert np.allclose(one.numpy(), other.numpy(), atol=1e-6), one.path


def test_an_overflow_skips_the_step_and_halves_the_scale(settings: Settings) -> None:
    made = learner(settings, "mixed_float16")
    optimizer = made._optimizer
    made.step(*batch())
    assert float(optimizer.scale.numpy()) == 2**15
    # At 2^40 gradients are past float16's 65,504.
    optimizer.scale.value.assign(2.0**40)
    before = [variable.numpy() for variable in made.model.trainable_variables]
    momenta = [variable.numpy() for variable in optimizer.momentums]
    made.step(*batch())
    after = [variable.numpy() for variable in made.model.trainable_variables]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(momenta, optimizer.momentums, strict=True))
    assert float(optimizer.scale.numpy()) == 2**24  # half of 2^40, and no more than the greatest
    assert int(optimizer.iterations.numpy()) == 2


def test_the_scale_doubles_after_many_good_steps_and_is_kept_in_checkpoints(settings: Settings) -> None:
    from models.nets.precision import GROWTH_STEPS

    made = learner(settings, "mixed_float16")
    made._optimizer.scale.value.assign(4.0)
    made._optimizer._good.value.assign(GROWTH_STEPS - 2.0)
    made.step(*batch())
    assert float(made._optimizer.scale.numpy()) == 4
    made.step(*batch())
    assert float(made._optimizer.scale.numpy()) == 8
    resumed = learner(settings, "mixed_float16")
    resumed.assign(made.values())
    assert float(resumed._optimizer.scale.numpy()) == 8
