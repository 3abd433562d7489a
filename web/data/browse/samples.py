"""Pictures of a label: pages with near duplicates stacked, values to filter by, and one picture."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from web.data.catalogue import SampleRow
from web.data.keyset import Listing, Page, Where
from web.data.mirror import Mirror
from web.data.versioned import kept_by_version

_VALUES = 60  # of each column that a page offers to filter by


class Quality(StrEnum):
    """How well picture and label agree, as the label check sees it."""

    DOUBTFUL = "doubtful"  # another label is suggested
    LOW = "low"  # label_quality below 0.5
    HIGH = "high"
    CHECKED = "checked"  # a person has decided


_QUALITY = {
    Quality.DOUBTFUL: "suggested_label IS NOT NULL",
    Quality.LOW: "label_quality < 0.5",
    Quality.HIGH: "label_quality >= 0.5",
    Quality.CHECKED: "label_source IN ('checked', 'corrected')",
}


class PictureFilter(BaseModel):
    """Which pictures a page shows; None means any.

    Args:
        flag: one that the picture has.
        cluster: of the pictures with its label.
        group: near duplicates of each other; then they are not stacked.
    """

    model_config = ConfigDict(frozen=True)

    flag: str | None = None
    cluster: str | None = None
    split: str | None = None
    quality: Quality | None = None
    device: str | None = None
    batch: str | None = None
    group: str | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _read_empty(cls, value: object) -> object:
        """A form sends an empty text for a choice that was not made."""
        return None if value == "" else value


@dataclass(frozen=True)
class Picture(SampleRow):
    """A sample as the pages show it.

    Args:
        label_reason: why another label is suggested.
        stacked: near duplicates that this picture stands for, itself included.
    """

    label_reason: str | None = None
    stacked: int = 1

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Picture":
        """Make it from a row of the copy."""
        return cls(**dict(row) | {"flags": tuple(row["flags"] or ())})


COLUMNS = tuple(name for name in Picture.__dataclass_fields__ if name != "stacked")
_LIST = ", ".join(f's."{name}"' for name in COLUMNS)


def where(label: str | None, wanted: PictureFilter) -> Where:
    """The conditions of a label and a filter on `samples`."""
    equal = vars(wanted) | {"flag": None, "quality": None, "group": None}
    found = Where().equal(label=label, duplicate_group=wanted.group, **equal)
    if wanted.flag:
        found = found.holds("list_contains(flags, $flag)", flag=wanted.flag)
    return found.holds(_QUALITY[wanted.quality]) if wanted.quality else found


def page(
    mirror: Mirror, label: str | None, wanted: PictureFilter, limit: int, after: str | None
) -> Page[Picture]:
    """A page of pictures, by image id; near duplicates are one, with their number.

    Args:
        label: slug; None for pictures of all labels.
        after: `next` of the page before.
    """
    conditions = where(label, wanted)
    filtered = f"WHERE {' AND '.join(conditions.conditions)}" if conditions.conditions else ""
    # Stacks first, rows after: only the rows of one page are read with all columns.
    stack = "image_id" if wanted.group else "coalesce(duplicate_group, image_id)"
    source = (
        f"(SELECT min(image_id) AS image_id, count(*) AS stacked FROM samples {filtered} GROUP BY {stack})"
    )
    stacks: Listing[tuple[str, int]] = Listing(
        source,
        ("image_id", "stacked"),
        {"image_id": "VARCHAR"},
        lambda row: (row["image_id"], row["stacked"]),
    )
    found = stacks.page(mirror, limit, after, Where([], conditions.values))
    rows = by_ids(mirror, [image_id for image_id, _ in found.items])
    items = [Picture.of(rows[image_id] | {"stacked": stacked}) for image_id, stacked in found.items]
    return Page[Picture](items=items, next=found.next)


def by_ids(mirror: Mirror, image_ids: list[str]) -> dict[str, dict[str, Any]]:
    """Rows of `samples` by image id."""
    if not image_ids:
        return {}
    rows = mirror.rows(f"SELECT {_LIST} FROM samples s WHERE image_id IN (SELECT unnest(?))", [image_ids])
    return {row["image_id"]: row for row in rows}


def find(mirror: Mirror, image_id: str) -> Picture | None:
    """One picture, with the number of its near duplicates."""
    rows = by_ids(mirror, [image_id])
    if not rows:
        return None
    picture = Picture.of(rows[image_id])
    if picture.duplicate_group is None:
        return picture
    (count,) = mirror.rows(
        "SELECT count(*) AS stacked FROM samples WHERE duplicate_group = ?", [picture.duplicate_group]
    )
    return Picture.of(rows[image_id] | count)


@kept_by_version
def count(mirror: Mirror, label: str | None, wanted: PictureFilter) -> int:
    """Number of pictures, stacked ones counted each."""
    conditions = where(label, wanted)
    filtered = f"WHERE {' AND '.join(conditions.conditions)}" if conditions.conditions else ""
    (row,) = mirror.rows(f"SELECT count(*) AS n FROM samples {filtered}", conditions.values)
    return int(row["n"])


def ids(mirror: Mirror, label: str | None, wanted: PictureFilter, limit: int) -> list[str]:
    """Image ids of a label and a filter, for a decision about all of them."""
    conditions = where(label, wanted)
    filtered = f"WHERE {' AND '.join(conditions.conditions)}" if conditions.conditions else ""
    rows = mirror.rows(
        f"SELECT image_id FROM samples {filtered} ORDER BY image_id LIMIT $ids_limit",
        conditions.values | {"ids_limit": limit},
    )
    return [row["image_id"] for row in rows]


@kept_by_version
def facets(mirror: Mirror, label: str | None) -> dict[str, list[tuple[str, int]]]:
    """Values of a label's pictures to filter by, each with its number, the most frequent first."""
    found: dict[str, list[tuple[str, int]]] = {}
    for column, expression in (
        ("flag", "unnest(flags)"), ("cluster", "cluster"), ("split", "split"), ("device", "device"),
        ("batch", "batch"),
    ):  # fmt: skip
        rows = mirror.rows(
            f"""SELECT value, count(*) AS n FROM
                (SELECT {expression} AS value FROM samples WHERE $label IS NULL OR label = $label)
            WHERE value IS NOT NULL GROUP BY value ORDER BY n DESC, value LIMIT $limit""",
            {"label": label, "limit": _VALUES},
        )
        found[column] = [(row["value"], row["n"]) for row in rows]
    return found
