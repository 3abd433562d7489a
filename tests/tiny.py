"""A tiny dataset for training tests: stripes and plain colours, built in code."""

import hashlib
import io
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from conf.settings import Settings
from lake.snapshot import MANIFEST, SHARD, Shard, Snapshot, Split
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
) -> Snapshot:
    """Write a snapshot with so many rows in train, validation and test."""
    random = np.random.default_rng(3)
    storage = Storage(settings.lake.at("snapshots", dataset_id), settings.s3)
    shards: dict[Split, tuple[Shard, ...]] = {}
    for split, count in zip(Split, rows, strict=True):
        listed = []
        for first in range(0, count, shard_rows):
            numbers = range(first, min(first + shard_rows, count))
            table = pa.table(
                {
                    "image_id": [f"{split}-{number}" for number in numbers],
                    "label": pa.array([number % len(labels) for number in numbers], pa.int32()),
                    "jpeg": [jpeg(picture(number % len(labels), random)) for number in numbers],
                },
                schema=SHARD,
            )
            file = io.BytesIO()
            pq.write_table(table, file, row_group_size=32)
            path = f"{split}/{first:05}.parquet"
            storage.write(path, file.getvalue())
            listed.append(Shard(path, len(numbers), hashlib.sha256(file.getvalue()).hexdigest()))
        shards[split] = tuple(listed)
    made = Snapshot(storage, labels, shards, flip=False, seed=3, filter={})
    storage.write_json(MANIFEST, made.manifest())
    return made


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
