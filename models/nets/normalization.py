"""Batch normalization over the batches of all workers, with as little work and as few messages as can be."""

from itertools import count
from typing import Any

import keras
import tensorflow as tf

from models.nets.precision import in_precision

FUSED = ("float32", "float16", "bfloat16")  # what TensorFlow's kernels for it compute
GROUP = 2**30  # of workers, for our exchanges; the strategy counts its groups from 1


class SharedNormalization(keras.layers.BatchNormalization):
    """`BatchNormalization(synchronized=True)` in a third of the time: fused kernels, two exchanges a step.

    Keras' own reads and writes the activations some twenty times for a step, the fused kernels six, and on
    one core it is memory that limits these. Its exchanges are five, of which ours are one forward and one
    backward. Only for training: models are saved with Keras' own layer. Every worker must have the same
    number of pictures in its batch.

    Args:
        number: of the layer, the same on every worker and no other layer's: tells exchanges apart.
        together: normalize by the batches of all workers; otherwise each by its own, without exchanges.
        **config: of Keras' layer; the channels are the last axis.
    """

    def __init__(self, number: int = 0, together: bool = True, **config: Any) -> None:
        super().__init__(**config)
        self._number, self.together = number, together

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalize (batch, height, width, channels); in training by the moments over all workers."""
        if inputs.dtype not in FUSED:  # float64, in which runs are compared to the last digit
            return super().call(inputs, training, mask)
        weights = tf.convert_to_tensor(self.gamma.value), tf.convert_to_tensor(self.beta.value)
        if not (training and self.trainable):
            return self._by(inputs, *weights, self.moving_mean.value, self.moving_variance.value)
        normalize = self._together if self._exchanging else self._alone
        outputs, mean, variance = normalize(inputs, *weights)
        for moving, moment in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + moment * (1 - self.momentum))
        return outputs

    @property
    def _exchanging(self) -> bool:
        return self.together and _workers() > 1

    def _by(self, x: Any, scale: Any, offset: Any, mean: Any, variance: Any) -> Any:
        """Normalized by moments that are given."""
        return tf.raw_ops.FusedBatchNormV3(
            x=x, scale=scale, offset=offset, mean=mean, variance=variance,
            epsilon=self.epsilon, is_training=False,
        )[0]  # fmt: skip

    def _alone(self, x: Any, scale: Any, offset: Any) -> tuple[Any, Any, Any]:
        """Normalized by the moments of this batch; its mean and variance, (channels,)."""
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x, scale=scale, offset=offset, mean=(), variance=(), epsilon=self.epsilon, is_training=True
        )
        # The kernel answers the estimate for the whole population; Keras keeps the batch's own variance.
        values = _values(x)
        return outputs, mean, variance * ((values - 1) / values)

    def _together(self, x: Any, scale: Any, offset: Any) -> Any:
        """As `_alone`, by the moments of the batches of all workers."""

        @tf.custom_gradient
        def normalized(x: Any, scale: Any, offset: Any) -> Any:
            _, mean, variance = self._alone(x, scale, offset)
            means, variances = tf.unstack(self._gathered(tf.stack([mean, variance]), 0), axis=1)
            mean = tf.reduce_mean(means, 0)
            variance = tf.reduce_mean(variances + tf.square(means - mean), 0)  # Chan et al. 1979

            def gradient(upstream: Any, *_: Any) -> tuple[Any, Any, Any]:
                # Of the scaling alone; this batch's sums of upstream times normalized, and of upstream.
                through, scales, offsets, *_ = tf.raw_ops.FusedBatchNormGradV3(
                    y_backprop=upstream, x=x, scale=scale, reserve_space_1=mean, reserve_space_2=variance,
                    reserve_space_3=variance, epsilon=self.epsilon, is_training=False,
                )  # fmt: skip
                sums = tf.reduce_sum(self._gathered(tf.stack([scales, offsets]), 1), 0)
                factor = -scale * tf.math.rsqrt(variance + self.epsilon) / (_values(x) * _workers())
                # What moments owe to x is a scaling of x as well.
                by_scale, by_offset = tf.unstack(factor * sums)
                return through + self._by(x, by_scale, by_offset, mean, variance), scales, offsets

            return (self._by(x, scale, offset, mean, variance), mean, variance), gradient

        return normalized(x, scale, offset)

    def _moments(self, inputs: Any, mask: Any) -> tuple[Any, Any]:
        """What Keras' own computation asks for where there are no fused kernels."""
        axes = self._reduction_axes
        sums = tf.stack([tf.reduce_mean(inputs, axes), tf.reduce_mean(tf.square(inputs), axes)])
        if self._exchanging:
            sums = self._averaged(sums)
        mean, square = tf.unstack(sums)
        return mean, tf.maximum(square - tf.square(mean), 0)

    def _averaged(self, values: Any) -> Any:
        @tf.custom_gradient
        def averaged(values: Any) -> Any:
            return tf.reduce_mean(self._gathered(values, 0), 0), lambda upstream: tf.reduce_mean(
                self._gathered(upstream, 1), 0
            )

        return averaged(values)

    def _gathered(self, values: Any, direction: int) -> Any:
        """What every worker has of a small tensor, (workers, …), in the workers' order.

        To gather takes one message where to reduce takes two, one after the other. With an instance key that
        stays the same the workers agree on the exchange once and not in every step, as they do under the
        strategy's own `all_reduce`: 0.36 ms in place of 0.88 between two processes (docs/decisions/010).
        """
        return tf.raw_ops.CollectiveGatherV2(
            input=values[None], group_size=_workers(), group_key=GROUP,
            instance_key=2 * self._number + direction, ordering_token=[],
        )  # fmt: skip


def own_moments(model: Any) -> list[Any]:
    """The running moments that each worker keeps for itself: variables, (channels,)."""
    return [
        moment
        for layer in model.layers
        if isinstance(layer, SharedNormalization) and not layer.together
        for moment in (layer.moving_mean, layer.moving_variance)
    ]


def _values(x: Any) -> Any:
    """Numbers of each channel, float32 ()."""
    return tf.cast(tf.size(x) / x.shape[-1], tf.float32)


def _workers() -> int:
    workers: int = tf.distribute.get_replica_context().num_replicas_in_sync
    return workers


class Sharing:
    """Copies a model's layers for training on several workers, for `keras.models.clone_model`.

    Args:
        together: see `SharedNormalization`.
        precision: of the copies.
    """

    def __init__(self, together: bool = True, precision: str = "float32") -> None:
        self._together, self._precision, self._numbers = together, precision, count()

    def __call__(self, layer: Any) -> Any:
        """A copy of a layer."""
        config = in_precision(layer, layer.get_config(), self._precision)
        if isinstance(layer, keras.layers.BatchNormalization):
            return SharedNormalization(next(self._numbers), self._together, **config)
        return type(layer).from_config(config)
