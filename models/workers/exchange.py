"""How long the exchanges between replicas take: gradients, and moments of synchronized normalizations."""

import time
from typing import Any

import tensorflow as tf

from models.nets.normalization import FusedBatchNormalization


def time_exchange(strategy: Any, model: Any) -> float:
    """Seconds that a step's exchanges take while nothing else is computed; every worker must call it.

    A step hides some of them behind its computation, and waits in others for the slowest worker.

    Args:
        strategy: of the replicas.
        model: the replica under it.
    """
    if strategy.num_replicas_in_sync == 1:
        return 0.0

    @tf.function(autograph=False)
    def exchange() -> Any:
        return strategy.experimental_local_results(strategy.run(_exchange_zeros, (model,)))[0]

    exchange().numpy()  # traces
    began = time.monotonic()
    exchange().numpy()
    return time.monotonic() - began


def _exchange_zeros(model: Any) -> Any:
    """Exchange zeros in place of gradients and moments; returns their sum."""
    zeros = [tf.zeros_like(weight.value) for weight in model.trainable_variables]
    context = tf.distribute.get_replica_context()
    sums = [tf.reduce_sum(total) for total in context.all_reduce(tf.distribute.ReduceOp.SUM, zeros)]
    normalizations = (layer for layer in model.layers if isinstance(layer, FusedBatchNormalization))
    return tf.add_n(sums + [layer.exchange_zeros() for layer in normalizations if layer.trainable])
