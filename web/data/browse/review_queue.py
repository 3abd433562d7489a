"""Pictures to review in the copies: the doubtful ones first, one of each group of near duplicates."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from lake.schemas import LABEL_CONFLICT, NONE_OF_THESE
from organize.review import ranking
from organize.review.ranking import Doubtful
from web.data.browse import samples
from web.data.mirror import Mirror
from web.data.versioned import kept_by_version

_CANDIDATES = 5_000  # the most doubtful; more would not change which come first
_OPEN = f"""coalesce(label_source, 'claimed') = 'claimed' AND label IS NOT NULL
    AND NOT coalesce(list_contains(flags, '{NONE_OF_THESE}'), false)"""
_DOUBTED = f"(suggested_label IS NOT NULL OR coalesce(list_contains(flags, '{LABEL_CONFLICT}'), false))"


@dataclass(frozen=True)
class ReviewItem:
    """A picture to decide about; `stacked` pictures are near duplicates of it, itself included."""

    image_id: str
    upload_id: str | None
    label: str
    suggested_label: str | None
    label_quality: float | None
    reason: str
    stacked: int


@dataclass(frozen=True)
class ReviewQueue:
    """The next pictures, and how many wait in all."""

    items: tuple[ReviewItem, ...]
    waiting: int


def doubtful(mirror: Mirror, label: str | None, limit: int, without: Collection[str] = ()) -> ReviewQueue:
    """Pictures whose label is doubted, the most doubtful first, spread over the labels.

    Args:
        label: only with this label, a slug; None for all.
        limit: of the pictures.
        without: image ids that are left out.
    """
    return _queue(mirror, _DOUBTED, label, limit, without)


def unchecked(mirror: Mirror, label: str | None, limit: int, without: Collection[str] = ()) -> ReviewQueue:
    """Pictures that nobody has decided about, those with the lowest label quality first."""
    return _queue(mirror, "TRUE", label, limit, without)


def _queue(
    mirror: Mirror, condition: str, label: str | None, limit: int, without: Collection[str]
) -> ReviewQueue:
    rows, waiting = _candidates(mirror, condition, label)
    candidates = [
        Doubtful(
            row["image_id"], row["label"], row["suggested_label"], row["label_quality"],
            row["label_reason"] or _conflict(row["flags"]), row["stack"],
        )
        for row in rows
        if row["image_id"] not in without
    ]  # fmt: skip
    chosen = ranking.most_doubtful(candidates, limit)
    found = samples.by_ids(mirror, [each.image_id for each in chosen])
    stacks = mirror.rows(
        """SELECT duplicate_group AS stack, count(*) AS n FROM samples
        WHERE duplicate_group IN (SELECT unnest(?)) GROUP BY stack""",
        [[each.group for each in chosen]],
    )
    sizes = {row["stack"]: row["n"] for row in stacks}
    items = tuple(
        ReviewItem(
            each.image_id, found[each.image_id]["upload_id"], each.label, each.suggested_label,
            each.label_quality, each.reason, sizes.get(each.group, 1),
        )
        for each in chosen
    )  # fmt: skip
    return ReviewQueue(items, waiting)


@kept_by_version
def _candidates(mirror: Mirror, condition: str, label: str | None) -> tuple[list[dict[str, Any]], int]:
    """The most doubtful samples that meet a condition, and the number of all, near duplicates as one."""
    where = f"{condition} AND {_OPEN} AND ($label IS NULL OR label = $label)"
    values: dict[str, Any] = {"label": label}
    rows = mirror.rows(
        f"""SELECT image_id, label, suggested_label, label_quality, label_reason, flags,
            coalesce(duplicate_group, image_id) AS stack
        FROM samples WHERE {where} ORDER BY label_quality NULLS FIRST, image_id LIMIT {_CANDIDATES}""",
        values,
    )
    (counted,) = mirror.rows(
        f"SELECT count(DISTINCT coalesce(duplicate_group, image_id)) AS n FROM samples WHERE {where}", values
    )
    return rows, int(counted["n"])


def _conflict(flags: list[str] | None) -> str:
    return "uploaded with different labels" if LABEL_CONFLICT in (flags or ()) else ""
