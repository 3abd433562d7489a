"""A dataset snapshot: Parquet shards of equal row counts, and a manifest with their checksums."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from conf.choices import SplitBy
from lake.errors import DamagedSnapshot, StorageError
from lake.storage import Storage

MANIFEST = "manifest.json"
FORMAT = 1

SHARD_SCHEMA = pa.schema([("image_id", pa.string()), ("label", pa.int32()), ("jpeg", pa.binary())])


class Split(StrEnum):
    """Use of a sample: training, validation or test."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True)
class Shard:
    """One Parquet file: its path below the snapshot, its row count and the sha256 of its bytes."""

    path: str
    rows: int
    sha256: str


@dataclass(frozen=True)
class DatasetSnapshot:
    """A dataset snapshot, as its manifest describes it.

    Args:
        storage: rooted at the snapshot's folder.
        labels: label names; the position is the label index in the shards.
        shards: of each split, in reading order.
        flip: whether pictures may be mirrored without changing their label.
        seed: of the shuffle and the split.
        filter: that selected the samples.
    """

    storage: Storage
    labels: tuple[str, ...]
    shards: dict[Split, tuple[Shard, ...]]
    flip: bool
    seed: int
    filter: dict[str, Any]

    @classmethod
    def load(cls, storage: Storage) -> "DatasetSnapshot":
        """Read the manifest at the storage's root.

        Raises:
            DamagedSnapshot: the manifest does not exist, is incomplete or has another format.
        """
        try:
            manifest: dict[str, Any] = storage.read_json(MANIFEST)
        except (StorageError, ValueError) as error:
            raise DamagedSnapshot(f"no readable dataset snapshot at {storage.root}: {error}") from None
        try:
            if manifest["format"] != FORMAT:
                raise DamagedSnapshot(
                    f"the dataset snapshot at {storage.root} has format {manifest['format']}, not {FORMAT}"
                )
            shards = {
                Split(split): tuple(Shard(**fields) for fields in entries)
                for split, entries in manifest["shards"].items()
            }
            rest = manifest["flip"], manifest["seed"], manifest["filter"]
            return cls(storage, tuple(manifest["labels"]), shards, *rest)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DamagedSnapshot(f"the manifest of {storage.root} is incomplete: {error!r}") from None

    def manifest(self) -> dict[str, Any]:
        """The manifest's JSON: content only, so that equal content has an equal hash."""
        return {
            "format": FORMAT,
            "labels": list(self.labels),
            "shards": {
                split: [{"path": s.path, "rows": s.rows, "sha256": s.sha256} for s in shards]
                for split, shards in self.shards.items()
            },
            "flip": self.flip,
            "seed": self.seed,
            "filter": self.filter,
        }

    @property
    def split_by_label(self) -> bool:
        """Whether all pictures of a label are in one split, so that training sees no label of test."""
        return self.filter.get("split_by") == SplitBy.LABEL

    @property
    def class_weights(self) -> tuple[float, ...]:
        """The weight of each label's pictures in the loss, by label index; empty without weights."""
        return tuple(self.filter.get("weights", ()))

    def sha256(self) -> str:
        """The manifest file's sha256 (hex)."""
        return hashlib.sha256(self.storage.read(MANIFEST)).hexdigest()

    def row_count(self, split: Split) -> int:
        """Number of images in a split."""
        return sum(shard.rows for shard in self.shards.get(split, ()))

    def batches(self, split: Split, start: int, stop: int) -> Iterator[pa.RecordBatch]:
        """Read rows `start` to `stop` of a split, numbered across its shards; skips the other shards.

        Any number of workers can share a split by row ranges of equal size. Each shard is read completely
        and its sha256 verified before its first row is yielded.

        Yields:
            record batches with the columns of `SHARD_SCHEMA`.

        Raises:
            DamagedSnapshot: a shard cannot be read, or differs from the manifest.
        """
        first = 0
        for shard in self.shards.get(split, ()):
            if first < stop and first + shard.rows > start:
                yield from self._read_rows(shard, max(start - first, 0), min(stop - first, shard.rows))
            first += shard.rows

    def column(self, split: Split, name: str) -> Iterator[pa.ChunkedArray]:
        """Read one column of a split, shard by shard. Verifies the shards' row counts, not their checksums.

        Raises:
            DamagedSnapshot: a shard cannot be read, or its row count differs from the manifest.
        """
        for shard in self.shards.get(split, ()):
            filesystem, path = self.storage.resolve(shard.path)
            with self._reading(shard), pq.ParquetFile(path, filesystem=filesystem) as file:
                self._verify_row_count(shard, file)
                yield file.read(columns=[name])[name]

    def _read_rows(self, shard: Shard, start: int, stop: int) -> Iterator[pa.RecordBatch]:
        with self._reading(shard), pq.ParquetFile(pa.BufferReader(self._verified_bytes(shard))) as file:
            self._verify_row_count(shard, file)
            first = 0
            for number in range(file.num_row_groups):
                rows = file.metadata.row_group(number).num_rows
                if first < stop and first + rows > start:
                    table = file.read_row_group(number, columns=SHARD_SCHEMA.names)
                    low = max(start - first, 0)
                    yield from table.slice(low, min(stop - first, rows) - low).to_batches()
                first += rows

    def _verified_bytes(self, shard: Shard) -> bytes:
        content = self.storage.read(shard.path)
        if hashlib.sha256(content).hexdigest() != shard.sha256:
            raise DamagedSnapshot(
                f"the sha256 of shard {shard.path} of {self.storage.root} differs from the manifest; "
                "delete the snapshot's folder and organize again"
            )
        return content

    def _verify_row_count(self, shard: Shard, file: pq.ParquetFile) -> None:
        if file.metadata.num_rows != shard.rows:
            raise DamagedSnapshot(
                f"shard {shard.path} of {self.storage.root} has {file.metadata.num_rows} rows, "
                f"the manifest says {shard.rows}; delete the snapshot's folder and organize again"
            )

    @contextmanager
    def _reading(self, shard: Shard) -> Iterator[None]:
        """Turn any error that Arrow raises on a damaged shard into DamagedSnapshot with one line."""
        try:
            yield
        except (OSError, StorageError, pa.ArrowException) as error:
            cause = " ".join(str(error).split())[:200]
            raise DamagedSnapshot(f"cannot read shard {shard.path} of {self.storage.root}: {cause}") from None
