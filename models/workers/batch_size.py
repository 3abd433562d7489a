"""Batch sizes by the memory of a worker's GPUs. Pure."""

LARGEST = 256  # pictures on a GPU and step; larger batches need other recipes (Goyal et al. 2017, section 5)
PICTURE_MB, PICTURE_SIDE = 90, 224  # activations of a ResNet-50 for one picture, in training
MEMORY_SHARE = 0.6  # of a GPU's memory for activations
LEAST_STEPS = 16  # of an epoch, so that momentum and schedule have steps to work with


def device_batch(side: int, memory: int, devices: int, rows: int, least: int) -> int:
    """Pictures per worker and step: a power of two for each GPU.

    Args:
        side: of the pictures (pixels).
        memory: of a GPU (bytes).
        devices: GPUs of the worker.
        rows: training pictures of the worker.
        least: the architecture's batch for a processor; fewer are not taken, whatever the number of rows.
    """
    picture = PICTURE_MB * 2**20 * (side / PICTURE_SIDE) ** 2
    fitting = min(LARGEST, int(MEMORY_SHARE * memory / picture), max(rows // LEAST_STEPS // devices, least))
    return devices * 2 ** max(0, fitting.bit_length() - 1)
