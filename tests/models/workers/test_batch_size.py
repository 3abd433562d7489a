"""Batch sizes by the memory of GPUs, worked out on paper."""

import pytest

from models.workers.batch_size import device_batch

GIB = 2**30


@pytest.mark.parametrize(
    ("side", "gib", "devices", "rows", "expected"),
    [
        (224, 80, 1, 10**6, 256),  # 0.6 × 80 GiB / 90 MiB = 546 would fit
        (224, 24, 1, 10**6, 128),  # 163 fit
        (224, 8, 1, 10**6, 32),  # 54 fit
        (224, 0.1, 1, 10**6, 1),
        (32, 8, 1, 10**6, 256),
        (32, 8, 1, 1600, 64),  # 1600 / 16 steps = 100
        (32, 8, 1, 50, 16),  # the processor's batch, whatever the number of pictures
        (224, 80, 4, 10**6, 1024),
        (32, 8, 2, 3200, 128),  # 100 on each of two
    ],
)
def test_a_batch_fits_memory_and_dataset(
    side: int, gib: float, devices: int, rows: int, expected: int
) -> None:
    assert device_batch(side, int(gib * GIB), devices, rows, least=16) == expected
