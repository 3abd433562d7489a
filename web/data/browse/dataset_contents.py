"""The images of a dataset snapshot, read once, and how two snapshots differ."""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from conf.settings import Settings
from lake.snapshot import DatasetSnapshot
from lake.storage import Storage
from organize.datasets.contents import DatasetContents

_SHOWN = 24


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
    folder = settings.lake.at("snapshots", dataset_id)
    return DatasetContents.read(DatasetSnapshot.load(Storage(folder, settings.s3)))


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
