"""What is trained: architectures, batches and inputs; and a dataset snapshot of generated pictures."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from conf.sections import S3
from lake.snapshot import MANIFEST, SHARD_SCHEMA, DatasetSnapshot, Shard, Split
from lake.storage import Storage

LABELS = tuple(f"label-{number}" for number in range(10))
_DISTINCT = 512  # different pictures, repeated
_SHARD_ROWS = 2048


@dataclass(frozen=True)
class Load:
    """A training to measure.

    Args:
        name: shown in the table.
        architecture: of the network.
        side: of the pictures (pixels).
        batch: pictures per step.
        randaugment: operations per picture.
        cached: whether decoded pictures are kept in memory.
        plain: whether the plain script runs beside it.
    """

    name: str
    architecture: str
    side: int
    batch: int
    randaugment: int = 0
    cached: bool = True
    plain: bool = True

    def rows(self, small: bool) -> int:
        """Training pictures: enough for some seconds of steps on a GPU."""
        if small:
            return 4 * self.batch
        return 4096 if self.side > 100 else 51_200


LOADS = (
    Load("ResNet-50, 224 px, batch 64", "resnet50", 224, 64),
    Load("ResNet-50, 224 px, batch 256", "resnet50", 224, 256),
    Load("ResNet-20, 32 px, batch 256", "resnet20", 32, 256),
    Load("ResNet-20, 32 px, batch 64", "resnet20", 32, 64),
    Load("ResNet-50, batch 64, RandAugment 2", "resnet50", 224, 64, randaugment=2, plain=False),
    Load("ResNet-50, batch 64, decoded each epoch", "resnet50", 224, 64, cached=False, plain=False),
    Load("ResNet-20, batch 256, RandAugment 2", "resnet20", 32, 256, randaugment=2, plain=False),
)
SMALL = (
    Load("ResNet-20, 32 px, batch 16", "resnet20", 32, 16),
    Load("ResNet-20, batch 16, RandAugment 2", "resnet20", 32, 16, randaugment=2, plain=False),
    Load("ResNet-20, batch 16, decoded each epoch", "resnet20", 32, 16, cached=False, plain=False),
)


def snapshot_of(load: Load, folder: Path, small: bool, rows: int = 0) -> DatasetSnapshot:
    """The snapshot for a load; written if it is missing, shared by loads of one side and number of rows.

    Args:
        rows: training pictures; 0 for as many as the load needs.
    """
    rows = rows or load.rows(small)
    storage = Storage(str(folder / f"snapshot-{load.side}-{rows}"), s3_defaults())
    if storage.exists(MANIFEST):
        return DatasetSnapshot.load(storage)
    jpegs = _jpegs(256 if load.side > 100 else 48)
    shards: dict[Split, tuple[Shard, ...]] = {}
    for split, count in ((Split.TRAIN, rows), (Split.VALIDATION, 64), (Split.TEST, 0)):
        starts = range(0, count, _SHARD_ROWS)
        shards[split] = tuple(
            _write(storage, split, start, min(_SHARD_ROWS, count - start), jpegs) for start in starts
        )
    made = DatasetSnapshot(storage, LABELS, shards, flip=True, seed=1, filter={})
    storage.write_json(MANIFEST, made.manifest())
    return made


def s3_defaults() -> S3:
    """The settings' section of object stores; snapshots of this benchmark lie on the disk."""
    from conf import settings

    return settings.load().s3


def _write(storage: Storage, split: Split, start: int, count: int, jpegs: list[bytes]) -> Shard:
    numbers = range(start, start + count)
    values = {
        "jpeg": [jpegs[number % len(jpegs)] for number in numbers],
        "label": [number % len(LABELS) for number in numbers],
        "image_id": [f"{split}-{number}" for number in numbers],
    }
    columns = {name: values[name] for name in SHARD_SCHEMA.names}
    file = io.BytesIO()
    pq.write_table(pa.table(columns, schema=SHARD_SCHEMA), file, row_group_size=256)
    path = f"{split}/{start:06}.parquet"
    storage.write(path, file.getvalue())
    return Shard(path, count, hashlib.sha256(file.getvalue()).hexdigest())


def _jpegs(side: int) -> list[bytes]:
    """Encoded pictures of smooth noise, about as large as photographs of this size."""
    random = np.random.default_rng(1)
    made = []
    for _ in range(_DISTINCT):
        coarse = random.integers(0, 256, (side // 8, side // 8, 3)).astype(np.uint8)
        smooth = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.int16)
        noisy = smooth + random.normal(0, 6, smooth.shape)
        made.append(cv2.imencode(".jpg", noisy.clip(0, 255).astype(np.uint8))[1].tobytes())
    return made
