"""Grouping of new pictures: find their near duplicates, and bring the groups up to date."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql import functions as f

from conf.settings import Settings
from lake import tables
from lake.erasure.groups import erasures
from lake.table import Table
from organize.chunk import SampleChanges
from organize.duplicates import calibrations, group_tables
from organize.duplicates.calibration import Calibration
from organize.duplicates.comparison.relation import Relation
from organize.duplicates.comparison.verification import VERSION, Match
from organize.duplicates.group_ids import assign_ids, own_id
from organize.duplicates.partition import Pair, partition
from organize.duplicates.picture_store import PictureStore
from organize.duplicates.prints import PRINT_COLUMNS, print_rows, stored_picture
from organize.duplicates.search import Cosines, Found, no_cosines, search

_FILE = "pictures-2.sqlite"
_OLDER_FILES = "pictures.sqlite*"  # prints of pictures with their frames; they are made again
_RELATIONS = list(Relation)
_HASH_DISTANCE = 3  # bits; with more, a million uniform hashes give hundreds of candidates per image

Neighbours = Mapping[str, Sequence[str]]  # image id to the images with the nearest embeddings


@contextmanager
def opened_store(spark: SparkSession, settings: Settings) -> Iterator[PictureStore]:
    """The local store of this lake, with the pairs of the newest table version and without erased images."""
    lake, config = settings.lake, settings.organize
    # Beside the index of embeddings: an erasure on this machine deletes the whole folder.
    folder = config.index_dir / tables.table_id(spark, lake, Table.EMBEDDINGS)
    for older in folder.glob(_OLDER_FILES):
        older.unlink(missing_ok=True)
    with PictureStore(folder / _FILE, min(config.phash_distance, _HASH_DISTANCE)) as store:
        _forget_erased(spark, settings, store)
        version = tables.version(spark, lake, Table.DUPLICATE_PAIRS)
        if store.version() != version:
            store.replace_pairs(version, group_tables.pairs(spark, lake, version))
            store.set_state("sure", "")  # the groups are compared with all pairs once
        yield store


def _forget_erased(spark: SparkSession, settings: Settings, store: PictureStore) -> None:
    epoch = str(erasures(settings))
    if store.state("erasures") == epoch:
        return
    rows = tables.read(spark, settings.lake, Table.SAMPLES).select("image_id").toLocalIterator()
    store.keep_only(row.image_id for row in rows)
    store.set_state("erasures", epoch)


@dataclass(frozen=True)
class Grouping:
    """Groups new pictures of a lake.

    Args:
        spark: a session on the lake.
        settings: of the hub.
        store: the local store, from `opened_store`.
        samples: take `duplicate_group`.
    """

    spark: SparkSession
    settings: Settings
    store: PictureStore
    samples: SampleChanges

    def group(
        self,
        images: pa.Table,
        neighbours: Callable[[Sequence[str]], Neighbours],
        cosines: Cosines = no_cosines,
    ) -> int:
        """Give images their groups; the same call again changes nothing.

        Args:
            images: with image_id and phash, and the columns of `prints.with_prints`.
            neighbours: finds the nearest images of the embeddings of images.
            cosines: of the embeddings of pairs.

        Returns:
            number of images.
        """
        image_ids = self._store_prints(images)
        near = neighbours(image_ids)
        self._store_missing(other for others in near.values() for other in others)
        found = search(self.store, image_ids, near, cosines)
        self._save_pairs(found)
        before = self.store.state("sure")
        calibration = calibrations.update(self.settings, self.store, cosines)
        changed = self._changed_images(before, calibration)
        self._regroup({*image_ids, *changed}, calibration.sure)
        self.store.set_state("sure", str(calibration.sure))
        return len(image_ids)

    def _store_prints(self, images: pa.Table) -> list[str]:
        rows = images.select(PRINT_COLUMNS).to_pylist()
        pictures = [stored_picture(row) for row in rows if row["square"] is not None]
        self.store.add(pictures)
        return sorted({picture.print.image_id for picture in pictures})

    def _store_missing(self, image_ids: Iterable[str]) -> None:
        """Make the prints of all pictures that this machine's store lacks, if one of these is missing."""
        if not self.store.missing(image_ids):
            return
        lake = self.settings.lake
        accepted = tables.read(self.spark, lake, Table.UPLOADS).where("verdict = 'accepted'")
        columns = ["jpeg", "width", "height", "phash"]
        pictures = accepted.groupBy("image_id").agg(*(f.first(name).alias(name) for name in columns))
        stored = self.spark.createDataFrame(
            [(image_id,) for image_id in self.store.first_images(len(self.store))], "image_id string"
        )
        samples = tables.read(self.spark, lake, Table.SAMPLES).select("image_id")
        rows = print_rows(
            pictures.join(samples, "image_id", "left_semi").join(stored, "image_id", "left_anti")
        )
        self.store.add(stored_picture(row.asDict()) for row in rows.toLocalIterator())

    def _save_pairs(self, found: Found) -> None:
        known = {(m.first, m.second) for m in self.store.pairs_of({m.first for m in found.matches})}
        new = [match for match in found.matches if (match.first, match.second) not in known]
        if new:
            group_tables.append_pairs(self.settings, new)
            self.store.add_pairs(tables.version(self.spark, self.settings.lake, Table.DUPLICATE_PAIRS), new)

    def _changed_images(self, before: str, calibration: Calibration) -> set[str]:
        """Images of older pairs that the calibration judges in another way than before; at first all."""
        sure = calibration.sure
        if before == str(sure):
            return set()
        changed = [
            match
            for match in self.store.all_pairs()
            if not before or match.is_near_duplicate(float(before)) != match.is_near_duplicate(sure)
        ]
        return {image_id for match in changed for image_id in (match.first, match.second)}

    def _regroup(self, image_ids: set[str], sure: float) -> None:
        """Divide the connected components of some images into groups again, and save what has changed."""
        component = self._component(image_ids, sure)
        affected = image_ids | {image_id for m in component for image_id in (m.first, m.second)}
        divided = partition(Pair(m.first, m.second, _score(m)) for m in component)
        together = {image_id for group in divided.groups for image_id in group}
        groups = [*divided.groups, *((image_id,) for image_id in sorted(affected - together))]
        before = group_tables.group_ids(self.settings, affected)
        ids = assign_ids(groups, before, lambda: group_tables.ended_ids(self.settings))
        rows = group_rows(divided.groups, component, ids.of_image)
        rows += [
            _row(image_id, ids.of_image[image_id])
            for image_id in sorted(affected - together)
            if ids.of_image[image_id] != own_id(image_id)
        ]
        group_tables.write_groups(self.settings, rows, ids.merged)
        for image_id, group_id in ids.of_image.items():
            self.samples.set(image_id, duplicate_group=group_id)

    def _component(self, image_ids: set[str], sure: float) -> list[Match]:
        """All near duplicates of images, their near duplicates, and so on."""
        found: dict[tuple[str, str], Match] = {}
        seen: set[str] = set()
        waiting = set(image_ids)
        while waiting:
            seen |= waiting
            matches = [m for m in self.store.pairs_of(waiting) if m.is_near_duplicate(sure)]
            found |= {(m.first, m.second): m for m in matches}
            waiting = {image_id for m in matches for image_id in (m.first, m.second)} - seen
        return list(found.values())


def _score(match: Match) -> float:
    """What joins first: the most certain pairs."""
    return match.significance


def group_rows(
    groups: Iterable[Sequence[str]], matches: Iterable[Match], group_of: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Rows of `groups`: each image with its relation to the centre of its group.

    The centre is the image with the most near duplicates in the group, that was changed least. An image that
    is no near duplicate of it, and the centre itself, have the relation to the image that they resemble most.
    """
    near: dict[str, dict[str, Match]] = defaultdict(dict)
    for match in matches:
        if group_of[match.first] == group_of[match.second]:
            near[match.first][match.second] = match
            near[match.second][match.first] = match
    rows = []
    for group in groups:
        centre = min(group, key=lambda image_id: (*_distance(near[image_id].values()), image_id))
        for image_id in sorted(group):
            best = min(near[image_id], key=lambda other: (-_score(near[image_id][other]), other))
            other = centre if centre in near[image_id] else best
            match = near[image_id][other]
            rows.append(
                _row(image_id, group_of[image_id])
                | {
                    "relation": match.relation.value,
                    "matched_image": other,
                    "verified_by": VERSION,
                    "score": match.correlation,
                }
            )
    return rows


def _distance(matches: Collection[Match]) -> tuple[int, int, float]:
    """How far an image lies from the centre of its group: few near duplicates, much changed, uncertain."""
    changed = sum(_RELATIONS.index(match.relation) for match in matches)
    return -len(matches), changed, -sum(map(_score, matches))


def _row(image_id: str, group_id: str) -> dict[str, Any]:
    values = dict.fromkeys(("relation", "matched_image", "verified_by", "score"))
    return {"image_id": image_id, "group_id": group_id, **values}
