"""FusedBatchNormalization against Keras' own layer, on one worker."""

from typing import Any

import numpy as np
import pytest

from conf.settings import Settings
from models.plan import TrainingPlan


def layers(dtype: str = "float32", fused: bool = True) -> tuple[Any, Any]:
    """Keras' layer and ours, with the same weights, 8 channels."""
    import keras

    from models.nets.normalization import FusedBatchNormalization

    config: dict[str, Any] = {"momentum": 0.9, "epsilon": 1.001e-5, "dtype": dtype}
    found = keras.layers.BatchNormalization(**config), FusedBatchNormalization(0, fused=fused, **config)
    random = np.random.default_rng(1)
    weights = [random.normal(1, 0.5, 8), random.normal(0, 1, 8), random.normal(0, 1, 8), np.full(8, 0.7)]
    for layer in found:
        layer.build((None, 6, 6, 8))
        layer.set_weights(weights)
    return found


def outputs_and_gradients(layer: Any, x: Any, training: bool) -> list[Any]:
    """Outputs, gradients of the input and of the weights, running moments."""
    import tensorflow as tf

    inputs = tf.constant(x, layer.compute_dtype)
    upstream = tf.constant(np.random.default_rng(2).normal(size=x.shape), layer.compute_dtype)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=training)
    gradients = tape.gradient(outputs, [inputs, layer.gamma.value, layer.beta.value], upstream)
    moving = [layer.moving_mean.value, layer.moving_variance.value]
    return [tf.cast(value, tf.float64).numpy() for value in [outputs, *gradients, *moving]]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("dtype", "tolerance", "fused"),
    [
        ("float32", 2e-5, True),
        ("float32", 2e-5, False),
        ("mixed_bfloat16", 0.06, True),
        ("mixed_bfloat16", 0.06, False),
        ("float64", 1e-12, True),
    ],
)
def test_outputs_gradients_and_moments_are_those_of_keras(
    dtype: str, tolerance: float, fused: bool, training: bool
) -> None:
    x = np.random.default_rng(3).normal(3, 2, (5, 6, 6, 8))
    theirs, ours = layers(dtype, fused)
    names = "outputs", "input's", "gamma's", "beta's", "mean", "variance"
    found = zip(
        names,
        outputs_and_gradients(theirs, x, training),
        outputs_and_gradients(ours, x, training),
        strict=True,
    )
    for name, their, our in found:
        assert np.abs(their - our).max() <= tolerance * max(1, np.abs(their).max()), name
        assert our.any()


def test_a_frozen_layer_uses_its_running_moments_and_does_not_change_them() -> None:
    x = np.random.default_rng(3).normal(3, 2, (5, 6, 6, 8))
    _, ours = layers()
    ours.trainable = False
    before = [weight.copy() for weight in ours.get_weights()]
    frozen, *_ = outputs_and_gradients(ours, x, training=True)
    assert np.array_equal(frozen, outputs_and_gradients(ours, x, training=False)[0])
    assert all(map(np.array_equal, before, ours.get_weights()))


def test_every_layer_of_a_model_has_its_own_number(settings: Settings) -> None:
    from models.nets.normalization import FusedBatchNormalization
    from models.pictures.inputs import BatchSchedule
    from models.workers.learner import Learner

    plan = TrainingPlan.of(settings, "any", 1, architecture="resnet20", normalization="local")
    learner = Learner(plan, BatchSchedule(8, 50), 4)
    found = [layer for layer in learner.model.layers if isinstance(layer, FusedBatchNormalization)]
    assert [layer._number for layer in found] == list(range(19))
    assert not any(layer.across_workers for layer in found)
