"""Computing in 16 bits where the device gains from it, and scaling the loss so that gradients survive it."""

from typing import Any

import keras
import tensorflow as tf

from models.nets.resnet import HEADS

TENSOR_CORES = (7, 0)  # compute capability from which NVIDIA's GPUs have them (Volta)
EXACT = ("caffe", "scaled", *HEADS)  # layers that stay in float32: bytes lose digits in 16 bits, losses more

FIRST_SCALE = 2.0**15
GROWTH_STEPS = 2000  # without an overflow until the scale is doubled
LEAST_SCALE, GREATEST_SCALE = 1.0, 2.0**24


def gains_from_half() -> bool:
    """Whether this worker's device computes faster in float16: GPUs with tensor cores; no CPU does."""
    devices = tf.config.get_visible_devices("GPU")
    details = [tf.config.experimental.get_device_details(device) for device in devices]
    return bool(details) and all(found.get("compute_capability", (0, 0)) >= TENSOR_CORES for found in details)


def in_precision(layer: Any, config: dict[str, Any], precision: str) -> dict[str, Any]:
    """A layer's configuration for a dtype policy; variables are float32 under every one."""
    if precision == "float32" or layer.name in EXACT or not isinstance(layer, keras.layers.Layer):
        return config
    return config | {"dtype": precision}


class ScaledSGD(keras.optimizers.SGD):
    """SGD for gradients of a loss that was multiplied by `scale`.

    Scaled as in Micikevicius et al. 2018, section 3.2: halved and the step skipped where a gradient is not
    finite, doubled after `GROWTH_STEPS` without that. Keras' `LossScaleOptimizer` judges each worker's
    gradients before they are summed, so one worker could skip a step that the others make; here the sums are
    judged, which are the same everywhere. A skipped step leaves weights and momenta as they are, and counts
    for the learning rate's schedule.
    """

    def build(self, variables: Any) -> None:
        """Add the scale and its age to the variables, so that checkpoints hold them."""
        super().build(variables)
        self.scale = self._counter("loss_scale", FIRST_SCALE)
        self._good = self._counter("good_steps", 0.0)

    def _counter(self, name: str, value: float) -> Any:
        return self.add_variable(
            (), keras.initializers.Constant(value), "float32", aggregation="only_first_replica", name=name
        )

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        summed = super()._all_reduce_sum_gradients(grads_and_vars)
        scale, good = tf.convert_to_tensor(self.scale.value), tf.convert_to_tensor(self._good.value)
        finite = [tf.reduce_all(tf.math.is_finite(gradient)) for gradient, _ in summed]
        self._finite = tf.reduce_all(tf.stack(finite))
        grown = self._finite & (good + 1 >= GROWTH_STEPS)
        wanted = tf.where(self._finite, tf.where(grown, scale * 2, scale), scale / 2)
        self.scale.assign(tf.clip_by_value(wanted, LEAST_SCALE, GREATEST_SCALE))
        self._good.assign(tf.where(self._finite & ~grown, good + 1, 0.0))
        return [(gradient / scale, variable) for gradient, variable in summed]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """SGD with momentum, or nothing."""
        velocity = -tf.cast(learning_rate, gradient.dtype) * gradient
        if self.momentum:
            momentum = self.momentums[self._get_variable_index(variable)]
            velocity += self.momentum * momentum.value
            self.assign(momentum, tf.where(self._finite, velocity, momentum.value))
        self.assign_add(variable, tf.where(self._finite, velocity, tf.zeros_like(velocity)))
