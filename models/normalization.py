"""Batch normalization over the batches of all workers, with as few messages between them as it takes."""

from typing import Any

import keras
import tensorflow as tf

from models.precision import in_precision


class SharedNormalization(keras.layers.BatchNormalization):
    """`BatchNormalization(synchronized=True)` with one exchange forward and one backward.

    Keras' own makes three and two; each is about 0.9 ms of processor time on a core, which at 32 px is more
    than the convolutions between them. Only for training: models are saved with Keras' own layer.
    Every worker must have the same number of pictures in its batch.
    """

    def _moments(self, inputs: Any, mask: Any) -> tuple[Any, Any]:
        context = tf.distribute.get_replica_context()
        axes = self._reduction_axes
        sums = tf.stack([tf.reduce_mean(inputs, axes), tf.reduce_mean(tf.square(inputs), axes)])
        if context.num_replicas_in_sync > 1:
            sums = context.all_reduce(tf.distribute.ReduceOp.SUM, sums) / context.num_replicas_in_sync
        mean, square = tf.unstack(sums)
        return mean, tf.maximum(square - tf.square(mean), 0)


def shared(layer: Any, precision: str = "float32") -> Any:
    """A copy of a layer for training on several workers in a precision, for `keras.models.clone_model`."""
    config = in_precision(layer, layer.get_config(), precision)
    if isinstance(layer, keras.layers.BatchNormalization):
        return SharedNormalization.from_config(config)
    return type(layer).from_config(config)
