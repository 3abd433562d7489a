"""A dataset snapshot: Parquet shards of equal row counts and the manifest that pins them."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lake.errors import DamagedSnapshot, StorageError
from lake.storage import Storage

MANIFEST = "manifest.json"
FORMAT = 1

SHARD = pa.schema([("image_id", pa.string()), ("label", pa.int32()), ("jpeg", pa.binary())])


class Split(StrEnum):
    """What a sample is used for."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True)
class Shard:
    """One Parquet file: its path below the snapshot, its rows and the sha256 of its bytes."""

    path: str
    rows: int
    sha256: str


@dataclass(frozen=True)
class Snapshot:
    """What a snapshot's manifest says.

    Args:
        storage: rooted at the snapshot.
        labels: label names; the position is the label index in the shards.
        shards: of every split, in reading order.
        flip: whether pictures may be mirrored without changing their label.
        seed: that shuffled and split.
        filter: what chose the samples.
    """

    storage: Storage
    labels: tuple[str, ...]
    shards: dict[Split, tuple[Shard, ...]]
    flip: bool
    seed: int
    filter: dict[str, Any]

    @classmethod
    def load(cls, storage: Storage) -> "Snapshot":
        """Read the manifest at the storage's root.

        Raises:
            DamagedSnapshot: there is none, or it is not of this format.
        """
        try:
            manifest: dict[str, Any] = storage.read_json(MANIFEST)
        except (StorageError, ValueError) as error:
            raise DamagedSnapshot(f"no readable snapshot at {storage.root}: {error}") from None
        try:
            if manifest["format"] != FORMAT:
                raise DamagedSnapshot(
                    f"the snapshot at {storage.root} has format {manifest['format']}, not {FORMAT}"
                )
            shards = {
                Split(split): tuple(Shard(**shard) for shard in listed)
                for split, listed in manifest["shards"].items()
            }
            rest = manifest["flip"], manifest["seed"], manifest["filter"]
            return cls(storage, tuple(manifest["labels"]), shards, *rest)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DamagedSnapshot(f"the manifest of {storage.root} is incomplete: {error!r}") from None

    def manifest(self) -> dict[str, Any]:
        """What is written to the manifest: content only, so that equal content has an equal hash."""
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

    def sha256(self) -> str:
        """Hash of the manifest file (hex)."""
        return hashlib.sha256(self.storage.read(MANIFEST)).hexdigest()

    def rows(self, split: Split) -> int:
        """Images in a split."""
        return sum(shard.rows for shard in self.shards.get(split, ()))

    def batches(self, split: Split, start: int, stop: int) -> Iterator[pa.RecordBatch]:
        """Rows `start` to `stop` of a split, counted across its shards; reads only the shards they are in.

        Any number of workers can share a split by rows without one of them being short of data. A shard is
        read whole and held against its sha256 before a row of it is given.

        Yields:
            record batches with the columns of `SHARD`.

        Raises:
            DamagedSnapshot: a shard cannot be read, or is not the one that the manifest names.
        """
        first = 0
        for shard in self.shards.get(split, ()):
            if first < stop and first + shard.rows > start:
                yield from self._rows_of(shard, max(start - first, 0), min(stop - first, shard.rows))
            first += shard.rows

    def column(self, split: Split, name: str) -> Iterator[pa.ChunkedArray]:
        """A column of every shard of a split, read without the others; the shards' rows are counted only.

        Raises:
            DamagedSnapshot: a shard cannot be read, or has other rows than the manifest says.
        """
        for shard in self.shards.get(split, ()):
            filesystem, path = self.storage.arrow(shard.path)
            with self._readable(shard), pq.ParquetFile(path, filesystem=filesystem) as file:
                self._refuse_other_rows(shard, file)
                yield file.read(columns=[name])[name]

    def _rows_of(self, shard: Shard, start: int, stop: int) -> Iterator[pa.RecordBatch]:
        with self._readable(shard), pq.ParquetFile(pa.BufferReader(self._content(shard))) as file:
            self._refuse_other_rows(shard, file)
            first = 0
            for number in range(file.num_row_groups):
                rows = file.metadata.row_group(number).num_rows
                if first < stop and first + rows > start:
                    table = file.read_row_group(number, columns=SHARD.names)
                    low = max(start - first, 0)
                    yield from table.slice(low, min(stop - first, rows) - low).to_batches()
                first += rows

    def _content(self, shard: Shard) -> bytes:
        content = self.storage.read(shard.path)
        if hashlib.sha256(content).hexdigest() != shard.sha256:
            raise DamagedSnapshot(
                f"shard {shard.path} of {self.storage.root} has another sha256 than the manifest says; "
                "delete the snapshot's folder and organize again"
            )
        return content

    def _refuse_other_rows(self, shard: Shard, file: pq.ParquetFile) -> None:
        if file.metadata.num_rows != shard.rows:
            raise DamagedSnapshot(
                f"shard {shard.path} of {self.storage.root} has {file.metadata.num_rows} rows, "
                f"the manifest says {shard.rows}; delete the snapshot's folder and organize again"
            )

    @contextmanager
    def _readable(self, shard: Shard) -> Iterator[None]:
        """Whatever a damaged shard leads Arrow to is one line."""
        try:
            yield
        except (OSError, StorageError, pa.ArrowException) as error:
            cause = " ".join(str(error).split())[:200]
            raise DamagedSnapshot(f"cannot read shard {shard.path} of {self.storage.root}: {cause}") from None
