"""A tiny dataset for training tests: stripes and colours, built in code; and scanned digits."""

import hashlib
import io
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from conf.choices import SplitBy
from conf.settings import Settings
from lake.snapshot import MANIFEST, SHARD_SCHEMA, DatasetSnapshot, Shard, Split
from lake.storage import Storage

LABELS = ("across", "down", "green", "red")


def picture(label: int, random: np.random.Generator, side: int = 40) -> NDArray[np.uint8]:
    """A noisy picture of a label, uint8 (side, side, 3)."""
    image = random.integers(90, 130, (side, side, 3))
    phase, bright = int(random.integers(0, 8)), int(random.integers(60, 110))
    stripes = ((np.arange(side) + phase) // 4 % 2 * bright)[:, None, None]
    if label == 0:
        image += stripes
    elif label == 1:
        image += stripes.transpose(1, 0, 2)
    else:
        image[:, :, 3 - label] += bright
    return image.clip(0, 255).astype(np.uint8)


def jpeg(image: NDArray[np.uint8]) -> bytes:
    """The picture as JPEG."""
    return cv2.imencode(".jpg", image[:, :, ::-1])[1].tobytes()


def snapshot(
    settings: Settings,
    dataset_id: str,
    rows: tuple[int, int, int] = (256, 33, 41),
    labels: tuple[str, ...] = LABELS,
    shard_rows: int = 100,
) -> DatasetSnapshot:
    """Write a dataset snapshot.

    Args:
        rows: in train, validation and test.
    """
    random = np.random.default_rng(3)
    pictures = {
        split: [
            (f"{split}-{number}", number % len(labels), jpeg(picture(number % len(labels), random)))
            for number in range(count)
        ]
        for split, count in zip(Split, rows, strict=True)
    }
    return write_snapshot(settings, dataset_id, labels, pictures, shard_rows)


def write_snapshot(
    settings: Settings,
    dataset_id: str,
    labels: tuple[str, ...],
    pictures: dict[Split, list[tuple[str, int, bytes]]],
    shard_rows: int = 100,
    split_by: SplitBy = SplitBy.GROUP,
) -> DatasetSnapshot:
    """Write a dataset snapshot of pictures.

    Args:
        pictures: split to (image id, label index, JPEG).
        split_by: for its manifest.
    """
    storage = Storage(settings.lake.at("snapshots", dataset_id), settings.s3)
    shards: dict[Split, tuple[Shard, ...]] = {}
    for split, listed in pictures.items():
        shards[split] = ()
        for first in range(0, len(listed), shard_rows):
            rows = listed[first : first + shard_rows]
            columns = zip(SHARD_SCHEMA.names, zip(*rows, strict=True), strict=True)
            table = pa.table({name: list(column) for name, column in columns}, schema=SHARD_SCHEMA)
            file = io.BytesIO()
            pq.write_table(table, file, row_group_size=32)
            path = f"{split}/{first:05}.parquet"
            storage.write(path, file.getvalue())
            shards[split] += (Shard(path, len(rows), hashlib.sha256(file.getvalue()).hexdigest()),)
    chosen = {"split_by": split_by.value} if split_by is SplitBy.LABEL else {}
    made = DatasetSnapshot(storage, labels, shards, flip=False, seed=3, filter=chosen)
    storage.write_json(MANIFEST, made.manifest())
    return made


def digits(
    settings: Settings, dataset_id: str, rows: tuple[int, int, int] = (1100, 200, 497)
) -> DatasetSnapshot:
    """Write a dataset snapshot of scikit-learn's scanned digits, 64 × 64 pixels.

    Args:
        rows: in train, validation and test.
    """
    from sklearn.datasets import load_digits

    scans = load_digits()
    order = iter(np.random.default_rng(7).permutation(len(scans.target)))
    pictures: dict[Split, list[tuple[str, int, bytes]]] = {}
    for split, count in zip(Split, rows, strict=True):
        numbers = [int(next(order)) for _ in range(count)]
        pictures[split] = [
            (f"{split}-{number}", int(scans.target[number]), jpeg(_scan(scans.images[number])))
            for number in numbers
        ]
    return write_snapshot(settings, dataset_id, tuple("0123456789"), pictures)


def _scan(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Enlarge a scan (grey 0 to 16) and invert it to dark ink on white paper."""
    grey = cv2.resize(255 - (values * 15).astype(np.uint8), (64, 64), interpolation=cv2.INTER_CUBIC)
    return np.repeat(grey[:, :, None], 3, axis=2)


def folder(path: Path, count: int) -> list[str]:
    """Write pictures as files; their names start with their label."""
    random = np.random.default_rng(5)
    path.mkdir(parents=True)
    names = []
    for number in range(count):
        file = path / f"{LABELS[number % 4]}-{number:03}.jpg"
        file.write_bytes(jpeg(picture(number % 4, random)))
        names.append(str(file))
    return names
