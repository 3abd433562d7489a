"""Mixed precision: choice of float16, layers that stay in float32, SGD with dynamic loss scaling."""

from typing import Any

import keras
import tensorflow as tf

from models.architectures import SCALINGS
from models.nets.heads import HEADS

TENSOR_CORE_CAPABILITY = (7, 0)  # compute capability from which NVIDIA GPUs have tensor cores (Volta)
FLOAT32_LAYERS = (
    *(scaling.layer for scaling in SCALINGS.values()),
    *HEADS,
)  # pixel values and losses would lose precision in 16 bits

INITIAL_SCALE = 2.0**15
GROWTH_STEPS = 2000  # steps without an overflow before the scale is doubled
MIN_SCALE, MAX_SCALE = 1.0, 2.0**24


def has_tensor_cores() -> bool:
    """Whether all GPUs of this worker have tensor cores, so that float16 is faster; False without a GPU."""
    devices = tf.config.get_visible_devices("GPU")
    details = [tf.config.experimental.get_device_details(device) for device in devices]
    return bool(details) and all(
        device.get("compute_capability", (0, 0)) >= TENSOR_CORE_CAPABILITY for device in details
    )


def with_dtype_policy(layer: Any, config: dict[str, Any], precision: str) -> dict[str, Any]:
    """A layer's configuration with a dtype policy; variables are float32 under every policy."""
    if precision == "float32" or layer.name in FLOAT32_LAYERS or not isinstance(layer, keras.layers.Layer):
        return config
    return config | {"dtype": precision}


class ScaledSGD(keras.optimizers.SGD):
    """SGD with dynamic loss scaling: the loss was multiplied by `scale`, the gradients are divided by it.

    As in Micikevicius et al. 2018, section 3.2: if a gradient is not finite, the step is skipped and the
    scale halved; after `GROWTH_STEPS` finite steps the scale is doubled. Keras' `LossScaleOptimizer` checks
    each worker's gradients before they are summed, so one worker could skip a step that the others take.
    This class checks the sums, which are the same on every worker. A skipped step changes neither weights
    nor momenta, but counts for the learning-rate schedule.
    """

    def build(self, variables: Any) -> None:
        """Add the scale and its count of finite steps as variables, so that checkpoints contain them."""
        super().build(variables)
        self.scale = self._add_scalar("loss_scale", INITIAL_SCALE)
        self._good_steps = self._add_scalar("good_steps", 0.0)

    def _add_scalar(self, name: str, value: float) -> Any:
        return self.add_variable(
            (), keras.initializers.Constant(value), "float32", aggregation="only_first_replica", name=name
        )

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        summed = super()._all_reduce_sum_gradients(grads_and_vars)
        scale = tf.convert_to_tensor(self.scale.value)
        good_steps = tf.convert_to_tensor(self._good_steps.value)
        finite = [tf.reduce_all(tf.math.is_finite(gradient)) for gradient, _ in summed]
        self._finite = tf.reduce_all(tf.stack(finite))
        grow = self._finite & (good_steps + 1 >= GROWTH_STEPS)
        new_scale = tf.where(self._finite, tf.where(grow, scale * 2, scale), scale / 2)
        self.scale.assign(tf.clip_by_value(new_scale, MIN_SCALE, MAX_SCALE))
        self._good_steps.assign(tf.where(self._finite & ~grow, good_steps + 1, 0.0))
        return [(gradient / scale, variable) for gradient, variable in summed]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One SGD step with momentum; nothing changes if a gradient was not finite."""
        velocity = -tf.cast(learning_rate, gradient.dtype) * gradient
        if self.momentum:
            momentum = self.momentums[self._get_variable_index(variable)]
            velocity += self.momentum * momentum.value
            self.assign(momentum, tf.where(self._finite, velocity, momentum.value))
        self.assign_add(variable, tf.where(self._finite, velocity, tf.zeros_like(velocity)))
