"""Replicas of the model: one on each device of each worker, under the strategy that fits.

Docs: docs/decisions/030-training-on-gpus.md.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from models.architectures import ARCHITECTURES
from models.plan import TrainingPlan
from models.workers.batch_size import device_batch


def make_strategy(workers: int) -> Any:
    """The tf.distribute strategy of this worker; all its devices take part.

    One replica needs no strategy. Several devices of one worker exchange within its process, workers by
    collectives: NCCL between GPUs, gRPC between processors.

    Args:
        workers: of the run.
    """
    if workers > 1:  # before anything lists logical devices: collectives are set up with the first operation
        implementation = (
            tf.distribute.experimental.CommunicationImplementation.NCCL
            if tf.config.get_visible_devices("GPU")
            else tf.distribute.experimental.CommunicationImplementation.AUTO
        )
        options = tf.distribute.experimental.CommunicationOptions(implementation=implementation)
        return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    devices = local_devices()
    return tf.distribute.MirroredStrategy(devices) if len(devices) > 1 else tf.distribute.get_strategy()


def local_devices() -> list[str]:
    """Names of the devices that train: this worker's GPUs, otherwise its (logical) processors."""
    kind = "GPU" if tf.config.get_visible_devices("GPU") else "CPU"
    return [device.name for device in tf.config.list_logical_devices(kind)]


def local_count(strategy: Any) -> int:
    """Number of replicas in this worker."""
    return 1 if strategy.num_replicas_in_sync == 1 else len(strategy.extended.worker_devices)


def device_distributor(strategy: Any) -> Callable[[Any], Any]:
    """A function that brings a dataset's batches to the devices while the step before is computed.

    Its argument has one element for each replica and step; elements of the result belong to a step.
    """
    if local_count(strategy) > 1:
        return lambda dataset: strategy.distribute_datasets_from_function(lambda context: dataset)
    if tf.config.get_visible_devices("GPU"):
        return lambda dataset: dataset.apply(tf.data.experimental.prefetch_to_device(local_devices()[0], 2))
    return lambda dataset: dataset


def device_memory() -> int | None:
    """Memory that TensorFlow may use on the smallest GPU of this worker (bytes); None without a GPU."""
    if not tf.config.get_visible_devices("GPU"):
        return None
    from tensorflow.python.client import device_lib

    # Without it the list would take memory on the GPUs of others, too.
    visible = ",".join(str(number) for number in range(len(local_devices())))
    options = tf.compat.v1.GPUOptions(visible_device_list=visible)
    found = device_lib.list_local_devices(tf.compat.v1.ConfigProto(gpu_options=options))
    limits = [device.memory_limit for device in found if device.device_type == "GPU"]
    return min(limits, default=0) or None


def compiles(plan: TrainingPlan) -> bool:
    """Whether XLA compiles the step: as the plan says; `auto` is on for GPUs.

    On a processor XLA's convolutions are slower than oneDNN's (docs/measurements/training-on-gpus.md).
    XLA has no deterministic gradient of max pooling.
    """
    automatic = bool(tf.config.get_visible_devices("GPU")) and not plan.deterministic
    return plan.jit == "on" or (plan.jit == "auto" and automatic)


def fuses_normalization(plan: TrainingPlan, across: bool) -> bool:
    """Whether normalizations use TensorFlow's fused kernels.

    On GPUs their gradient for fixed moments, which synchronized and frozen ones need, is not deterministic.

    Args:
        plan: of the run.
        across: whether moments are exchanged between replicas.
    """
    fixed = across or plan.normalization == "frozen"
    return not (plan.deterministic and fixed and tf.config.get_visible_devices("GPU"))


def gather_from_workers(strategy: Any, workers: int, number: int, value: int) -> list[int]:
    """Every worker's value, by its number; every worker must call it."""
    if workers == 1:
        return [value]
    own = tf.one_hot(number, workers, on_value=value, off_value=0, dtype=tf.int64)

    @tf.function(autograph=False)
    def summed(values: Any) -> Any:
        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(tf.identity, (values,)), None)

    return [int(sum_here) // local_count(strategy) for sum_here in summed(own).numpy()]


def agree_on_batch(strategy: Any, plan: TrainingPlan, number: int, rows: int, resumed: int) -> int:
    """The batch of every worker where the plan leaves it to the GPUs; every worker must call it.

    Args:
        strategy: of this worker.
        plan: of the run.
        number: of this worker.
        rows: training pictures of a worker.
        resumed: batch of the newest checkpoint, which a resumed run keeps; 0 for none.

    Returns:
        the least that fits the memory of every GPU of all workers.
    """
    least, memory = ARCHITECTURES[plan.architecture].batch_size(plan.side), device_memory()
    devices = local_count(strategy)
    fitting = device_batch(plan.side, memory, devices, rows, least) if memory else least * devices
    found = gather_from_workers(strategy, plan.workers, number, fitting)
    return gather_from_workers(strategy, plan.workers, number, resumed)[0] or min(found)
