"""The pictures of a dataset snapshot, shard by shard, as exports read them."""

from collections.abc import Iterator
from dataclasses import dataclass

from lake.snapshot import DatasetSnapshot, Shard, Split


@dataclass(frozen=True)
class Picture:
    """One picture of a dataset: its id, label, label index, and the bytes of its JPEG."""

    image_id: str
    label: str
    index: int
    jpeg: bytes


def pictures(snapshot: DatasetSnapshot, split: Split) -> Iterator[Picture]:
    """The pictures of a split, in the order of the snapshot.

    Raises:
        DamagedSnapshot: a shard cannot be read, or differs from the manifest.
    """
    for _, in_shard in shards(snapshot, split):
        yield from in_shard


def shards(snapshot: DatasetSnapshot, split: Split) -> Iterator[tuple[Shard, list[Picture]]]:
    """The shards of a split with their pictures; one shard is in memory at a time.

    Raises:
        DamagedSnapshot: a shard cannot be read, or differs from the manifest.
    """
    first = 0
    for shard in snapshot.shards.get(split, ()):
        rows = [
            Picture(row["image_id"], snapshot.labels[row["label"]], row["label"], row["jpeg"])
            for batch in snapshot.batches(split, first, first + shard.rows)
            for row in batch.to_pylist()
        ]
        first += shard.rows
        yield shard, rows
