"""What predicts in this process, and batches that fill it."""

import os
from typing import Any

CPU_BATCH = 64  # larger batches gain nothing on a processor's cores
GPU_BATCH, GPU_SIDE, LARGEST = 256, 224, 2048


def prediction_batch(side: int) -> int:
    """Pictures that are predicted at a time: more on a GPU, and more where they are small.

    Args:
        side: of the pictures (pixels).
    """
    import tensorflow as tf

    if not tf.config.get_visible_devices("GPU"):
        return CPU_BATCH
    return min(LARGEST, int(GPU_BATCH * (GPU_SIDE / side) ** 2))


def take_devices(cores: int, gpus: list[str]) -> None:
    """Limit TensorFlow, before its first operation, to these cores and GPUs.

    Several processes of a machine may predict on one GPU, so each takes memory only as it needs it.

    Args:
        cores: number of threads.
        gpus: addresses that Spark assigned to the task; empty for all that are visible.
    """
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(cores)
    tf.config.threading.set_inter_op_parallelism_threads(cores)
    device: Any
    for device in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(device, True)
