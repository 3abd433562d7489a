"""The duplicate groups of a lake, as `hub duplicates` lists them; read without Spark."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conf.errors import UsageError
from conf.settings import Settings
from lake import row_writer
from lake.row_writer import literal
from lake.table import Table
from organize.duplicates import calibrations
from organize.duplicates.calibration import Calibration
from organize.duplicates.comparison.relation import Relation
from organize.duplicates.comparison.verification import SURE, Match
from organize.duplicates.copies import Copy, Ranked, rank

_IDS_PER_QUERY = 2000
_ORDER = list(Relation)


@dataclass(frozen=True)
class Member:
    """A picture of a group.

    Args:
        ranked: its rank among the copies.
        label: of its sample.
        relation: to the picture of the group that it resembles most; None if that was erased.
        matched_image: that picture.
    """

    ranked: Ranked
    label: str
    relation: Relation | None
    matched_image: str | None


@dataclass(frozen=True)
class Group:
    """A duplicate group.

    Args:
        group_id: of the group.
        relation: of its pictures; where they differ, the one that changes most.
        members: the best copy first.
    """

    group_id: str
    relation: Relation | None
    members: tuple[Member, ...]


@dataclass(frozen=True)
class Listing:
    """Groups that were asked for, and figures of all.

    Args:
        groups: the largest first.
        total: number of groups that match the filters.
        images: number of images in them.
        cut: near duplicates in different groups, since joining them would have made a chain.
        calibration: of the lake; None before its first pictures were grouped.
    """

    groups: tuple[Group, ...]
    total: int
    images: int
    cut: int
    calibration: Calibration | None

    @property
    def size(self) -> str:
        """`2 groups of 7 images`."""
        return f"{self.total:,} {'group' if self.total == 1 else 'groups'} of {self.images:,} images"


def list_groups(
    settings: Settings, limit: int, label: str | None = None, relation: Relation | None = None
) -> Listing:
    """List duplicate groups of two or more images.

    Args:
        limit: number of groups, at most.
        label: only groups with an image of this label.
        relation: only groups with an image of this relation.

    Raises:
        UsageError: no sample has the label.
        StorageError: the lake cannot be read.
    """
    rows = row_writer.read(settings, Table.GROUPS, ["group_id", "image_id", "relation", "matched_image"])
    by_group: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_group[row["group_id"]].append(row)
    chosen = {
        group_id: members
        for group_id, members in by_group.items()
        if len(members) > 1 and (relation is None or any(row["relation"] == relation for row in members))
    }
    if label is not None:
        labelled = _images_of_label(settings, label)
        chosen = {k: v for k, v in chosen.items() if any(row["image_id"] in labelled for row in v)}
    ordered = sorted(chosen, key=lambda group_id: (-len(chosen[group_id]), group_id))[:limit]
    details = _details(settings, [row["image_id"] for group_id in ordered for row in chosen[group_id]])
    calibration = calibrations.read(settings)
    return Listing(
        tuple(_group(group_id, chosen[group_id], details) for group_id in ordered),
        len(chosen),
        sum(map(len, chosen.values())),
        _cut(settings, {row["image_id"]: row["group_id"] for row in rows}, calibration),
        calibration,
    )


def thumbnails(settings: Settings, image_ids: Sequence[str]) -> dict[str, bytes]:
    """Image id to its stored thumbnail."""
    rows = _of_images(settings, Table.UPLOADS, image_ids, ["image_id", "thumbnail"], "verdict = 'accepted'")
    return {row["image_id"]: row["thumbnail"] for row in rows if row["thumbnail"]}


def _images_of_label(settings: Settings, label: str) -> set[str]:
    rows = row_writer.read(settings, Table.SAMPLES, ["image_id"], f"label = {literal(label)}")
    if not rows:
        raise UsageError(
            f"--label {label}: no image has this label; `hub sql 'SELECT label FROM labels'` lists all"
        )
    return {row["image_id"] for row in rows}


def _details(settings: Settings, image_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Image id to label, flags, size and sharpness."""
    found: dict[str, dict[str, Any]] = {}
    uploads = _of_images(
        settings, Table.UPLOADS, image_ids, ["image_id", "width", "height", "metrics"], "verdict = 'accepted'"
    )
    for row in uploads:
        found.setdefault(row["image_id"], row)
    for row in _of_images(settings, Table.SAMPLES, image_ids, ["image_id", "label", "flags"]):
        found[row["image_id"]] = found.get(row["image_id"], {}) | row
    return found


def _of_images(
    settings: Settings, table: Table, image_ids: Sequence[str], columns: Sequence[str], where: str = "TRUE"
) -> list[dict[str, Any]]:
    rows = []
    for start in range(0, len(image_ids), _IDS_PER_QUERY):
        wanted = literal(*image_ids[start : start + _IDS_PER_QUERY])
        rows += row_writer.read(settings, table, columns, f"{where} AND image_id IN ({wanted})")
    return rows


def _group(
    group_id: str, rows: Sequence[Mapping[str, Any]], details: Mapping[str, Mapping[str, Any]]
) -> Group:
    by_image = {row["image_id"]: row for row in rows}
    members = []
    for ranked in rank(_copy(image_id, details.get(image_id, {})) for image_id in by_image):
        row = by_image[ranked.copy.image_id]
        relation = Relation(row["relation"]) if row["relation"] else None
        label = str(details.get(ranked.copy.image_id, {}).get("label") or "")
        members.append(Member(ranked, label, relation, row["matched_image"]))
    relations = [member.relation for member in members if member.relation]
    return Group(group_id, max(relations, key=_ORDER.index, default=None), tuple(members))


def _copy(image_id: str, row: Mapping[str, Any]) -> Copy:
    metrics = row.get("metrics") or {}
    flags = tuple(row.get("flags") or ())
    return Copy(image_id, row.get("width") or 0, row.get("height") or 0, metrics.get("sharpness"), flags)


def _cut(settings: Settings, group_of: Mapping[str, str], calibration: Calibration | None) -> int:
    """Number of near duplicates whose images are in different groups."""
    sure = calibration.sure if calibration else SURE
    columns = ["first", "second", "relation", "correlation", "significance"]
    count = 0
    for row in row_writer.read(settings, Table.DUPLICATE_PAIRS, columns):
        match = Match.of(row)
        together = group_of.get(match.first, match.first) == group_of.get(match.second, match.second)
        count += not together and match.is_near_duplicate(sure)
    return count
