"""Synchronized batch normalization: fused kernels, one all-gather forward and one backward."""

from itertools import count
from typing import Any

import keras
import tensorflow as tf

from models.nets.precision import with_dtype_policy

FUSED_DTYPES = ("float32", "float16", "bfloat16")  # supported by TensorFlow's fused kernels
GROUP_KEY = 2**30  # of our collectives; no clash, as the strategy counts its group keys from 1


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """`BatchNormalization(synchronized=True)` in a third of the time: fused kernels, two collectives a step.

    Keras' layer reads and writes the activations about twenty times a step, the fused kernels six times; on
    one core memory bandwidth is the limit. Keras' layer needs five collectives, this one needs two: one
    forward, one backward. Used only for training: models are saved with Keras' own layer. Every worker must
    have the same number of pictures in its batch.

    Args:
        number: identifies the layer's collectives; the same on every worker, unique within the model.
        across_workers: use the statistics of all workers' batches; False uses only this worker's batch.
        fused: use the fused kernels where they know the dtype; False uses Keras' operations.
        **config: arguments of Keras' layer; channels must be the last axis.
    """

    def __init__(
        self, number: int = 0, across_workers: bool = True, fused: bool = True, **config: Any
    ) -> None:
        super().__init__(**config)
        self._number, self.across_workers, self._fused = number, across_workers, fused

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalize (batch, height, width, channels), in training by the batch moments."""
        # Keras' operations for float64, used to compare runs to the last digit.
        if not self._fused or inputs.dtype not in FUSED_DTYPES:
            return super().call(inputs, training, mask)
        weights = tf.convert_to_tensor(self.gamma.value), tf.convert_to_tensor(self.beta.value)
        if not (training and self.trainable):
            return self._normalize_by(inputs, *weights, self.moving_mean.value, self.moving_variance.value)
        normalize = self._normalize_across_workers if self._synchronizes else self._normalize_by_batch
        outputs, mean, variance = normalize(inputs, *weights)
        for moving, moment in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + moment * (1 - self.momentum))
        return outputs

    @property
    def _synchronizes(self) -> bool:
        return self.across_workers and _replica_count() > 1

    def _normalize_by(self, x: Any, scale: Any, offset: Any, mean: Any, variance: Any) -> Any:
        """Normalize by the given moments."""
        return tf.raw_ops.FusedBatchNormV3(
            x=x, scale=scale, offset=offset, mean=mean, variance=variance,
            epsilon=self.epsilon, is_training=False,
        )[0]  # fmt: skip

    def _normalize_by_batch(self, x: Any, scale: Any, offset: Any) -> tuple[Any, Any, Any]:
        """Normalize by the moments of this worker's batch; returns outputs, mean and variance (channels,)."""
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x, scale=scale, offset=offset, mean=(), variance=(), epsilon=self.epsilon, is_training=True
        )
        # The kernel returns the unbiased variance (n - 1); Keras keeps the biased one (n).
        values = _values_per_channel(x)
        return outputs, mean, variance * ((values - 1) / values)

    def _normalize_across_workers(self, x: Any, scale: Any, offset: Any) -> Any:
        """Like `_normalize_by_batch`, with the moments of all workers' batches."""

        @tf.custom_gradient
        def synchronized_norm(x: Any, scale: Any, offset: Any) -> Any:
            _, mean, variance = self._normalize_by_batch(x, scale, offset)
            means, variances = tf.unstack(self._all_gather(tf.stack([mean, variance]), 0), axis=1)
            mean = tf.reduce_mean(means, 0)
            variance = tf.reduce_mean(variances + tf.square(means - mean), 0)  # Chan et al. 1979

            def gradient(upstream: Any, *_: Any) -> tuple[Any, Any, Any]:
                # The gradient of the scaling alone, and this batch's sums for gamma and beta.
                direct, scales, offsets, *_ = tf.raw_ops.FusedBatchNormGradV3(
                    y_backprop=upstream, x=x, scale=scale, reserve_space_1=mean, reserve_space_2=variance,
                    reserve_space_3=variance, epsilon=self.epsilon, is_training=False,
                )  # fmt: skip
                sums = tf.reduce_sum(self._all_gather(tf.stack([scales, offsets]), 1), 0)
                values = _values_per_channel(x) * _replica_count()
                factor = -scale * tf.math.rsqrt(variance + self.epsilon) / values
                # The gradient through the moments is linear in x too.
                by_scale, by_offset = tf.unstack(factor * sums)
                return direct + self._normalize_by(x, by_scale, by_offset, mean, variance), scales, offsets

            return (self._normalize_by(x, scale, offset, mean, variance), mean, variance), gradient

        return synchronized_norm(x, scale, offset)

    def _moments(self, inputs: Any, mask: Any) -> tuple[Any, Any]:
        """Override of Keras' hook for dtypes without fused kernels: mean and variance over all workers."""
        axes = self._reduction_axes
        sums = tf.stack([tf.reduce_mean(inputs, axes), tf.reduce_mean(tf.square(inputs), axes)])
        if self._synchronizes:
            sums = self._average_over_workers(sums)
        mean, square = tf.unstack(sums)
        return mean, tf.maximum(square - tf.square(mean), 0)

    def _average_over_workers(self, values: Any) -> Any:
        @tf.custom_gradient
        def mean_over_workers(values: Any) -> Any:
            return tf.reduce_mean(self._all_gather(values, 0), 0), lambda upstream: tf.reduce_mean(
                self._all_gather(upstream, 1), 0
            )

        return mean_over_workers(values)

    def exchange_zeros(self) -> Any:
        """Do the exchanges of a step with zeros, to measure them; returns their sum, float ()."""
        if not self._synchronizes:
            return tf.zeros((), self.variable_dtype)
        zeros = tf.zeros((2, self.gamma.shape[0]), self.variable_dtype)
        return tf.add_n([tf.reduce_sum(self._all_gather(zeros, direction)) for direction in (0, 1)])

    def _all_gather(self, values: Any, direction: int) -> Any:
        """All-gather a small tensor: (replicas, …), in the order of the replicas.

        A gather takes one message, a reduce two in sequence. With a fixed instance key the workers negotiate
        the collective once; under the strategy's own `all_reduce` they do so in every step: 0.36 ms in place
        of 0.88 between two processes (docs/measurements/training-step.md). Several replicas in one worker
        gather by the strategy: in one function TensorFlow would run their collectives one after the other,
        and the first would wait for the second.
        """
        context = tf.distribute.get_replica_context()
        if len(context.strategy.extended.worker_devices) > 1:
            # A sum of rows in which the others have zeros.
            row = tf.one_hot(
                context.replica_id_in_sync_group, context.num_replicas_in_sync, dtype=values.dtype
            )
            placed = tf.reshape(row, [-1] + [1] * len(values.shape)) * values[None]
            return context.all_reduce(tf.distribute.ReduceOp.SUM, placed)
        return tf.raw_ops.CollectiveGatherV2(
            input=values[None], group_size=_replica_count(), group_key=GROUP_KEY,
            instance_key=2 * self._number + direction, ordering_token=[],
        )  # fmt: skip


def local_moments(model: Any) -> list[Any]:
    """The running moments that are not synchronized between workers: variables, (channels,)."""
    return [
        moment
        for layer in model.layers
        if isinstance(layer, FusedBatchNormalization) and not layer.across_workers
        for moment in (layer.moving_mean, layer.moving_variance)
    ]


def _values_per_channel(x: Any) -> Any:
    """Number of values per channel, float32 ()."""
    return tf.cast(tf.size(x) / x.shape[-1], tf.float32)


def _replica_count() -> int:
    """Number of replicas of all workers; to be called in a replica's context."""
    replicas: int = tf.distribute.get_replica_context().num_replicas_in_sync
    return replicas


class LayerCloner:
    """Copies layers for training on several workers: a `clone_function` for `keras.models.clone_model`.

    Args:
        across_workers: see `FusedBatchNormalization`.
        precision: dtype policy of the copies.
        fused: see `FusedBatchNormalization`.
    """

    def __init__(self, across_workers: bool = True, precision: str = "float32", fused: bool = True) -> None:
        self._across_workers, self._fused = across_workers, fused
        self._precision, self._numbers = precision, count()

    def __call__(self, layer: Any) -> Any:
        """Copy a layer; batch normalization becomes `FusedBatchNormalization`."""
        config = with_dtype_policy(layer, layer.get_config(), self._precision)
        if isinstance(layer, keras.layers.BatchNormalization):
            return FusedBatchNormalization(next(self._numbers), self._across_workers, self._fused, **config)
        return type(layer).from_config(config)
