"""The images of a dataset snapshot, and how two snapshots differ."""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from conf.settings import Settings
from lake.snapshot import DatasetSnapshot, Split
from lake.storage import Storage

_SHOWN = 24


@dataclass(frozen=True)
class DatasetContents:
    """The images of a dataset snapshot, in the order of its shards.

    Args:
        labels: names; the position is the label index.
        image_ids: (n,).
        label_indices: int32 (n,).
        splits: int8 (n,), positions in `Split`.
    """

    labels: tuple[str, ...]
    image_ids: NDArray[np.object_]
    label_indices: NDArray[np.int32]
    splits: NDArray[np.int8]

    def counts(self) -> dict[str, dict[str, int]]:
        """Label to split to number of images."""
        found = {label: {split.value: 0 for split in Split} for label in self.labels}
        for place, split in enumerate(Split):
            numbers = np.bincount(self.label_indices[self.splits == place], minlength=len(self.labels))
            for label, images in zip(self.labels, numbers.tolist(), strict=True):
                found[label][split.value] = images
        return found

    def first_of_labels(self, number: int) -> dict[str, list[str]]:
        """Label to the ids of its first images."""
        return {
            label: self.image_ids[np.flatnonzero(self.label_indices == index)[:number]].tolist()
            for index, label in enumerate(self.labels)
        }

    def places(self) -> dict[str, tuple[str, str]]:
        """Image id to its label and split."""
        names, splits = np.array(self.labels, object), np.array([each.value for each in Split], object)
        rows = zip(self.image_ids, names[self.label_indices], splits[self.splits], strict=True)
        return {image_id: (label, split) for image_id, label, split in rows}


@dataclass(frozen=True)
class Change:
    """Images that differ in one way: a number, how many by kind, and the first of them."""

    images: int
    kinds: tuple[tuple[str, int], ...]
    shown: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """How a later snapshot differs from an earlier one; `same` images are equal in both."""

    added: Change
    removed: Change
    relabelled: Change
    moved: Change
    same: int


@lru_cache(maxsize=4)
def read(settings: Settings, dataset_id: str) -> DatasetContents:
    """Read the ids and labels of a snapshot's images. It never changes, so that it is read once.

    Raises:
        DamagedSnapshot: the snapshot cannot be read.
    """
    snapshot = DatasetSnapshot.load(Storage(settings.lake.at("snapshots", dataset_id), settings.s3))
    ids: list[NDArray[np.object_]] = [np.zeros(0, object)]
    labels, splits = [np.zeros(0, np.int32)], [np.zeros(0, np.int8)]
    for place, split in enumerate(Split):
        for column in snapshot.column(split, "image_id"):
            ids.append(column.to_numpy())
            splits.append(np.full(len(column), place, np.int8))
        labels += [column.to_numpy() for column in snapshot.column(split, "label")]
    return DatasetContents(
        snapshot.labels, np.concatenate(ids), np.concatenate(labels), np.concatenate(splits)
    )


def compare(before: DatasetContents, after: DatasetContents) -> Difference:
    """Compare two snapshots image by image."""
    old, new = before.places(), after.places()
    both = [image_id for image_id in new if image_id in old]
    relabelled = {each: f"{old[each][0]} → {new[each][0]}" for each in both if old[each][0] != new[each][0]}
    moved = {each: f"{old[each][1]} → {new[each][1]}" for each in both if old[each][1] != new[each][1]}
    return Difference(
        added=_change({each: place[0] for each, place in new.items() if each not in old}),
        removed=_change({each: place[0] for each, place in old.items() if each not in new}),
        relabelled=_change(relabelled),
        moved=_change(moved),
        same=sum(old[each] == new[each] for each in both),
    )


def _change(kinds: dict[str, str]) -> Change:
    return Change(len(kinds), tuple(Counter(kinds.values()).most_common(12)), tuple(kinds)[:_SHOWN])
