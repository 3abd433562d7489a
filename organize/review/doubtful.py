"""Samples whose label is doubted, read from the tables. Needs no Spark session."""

from collections.abc import Sequence

from conf.settings import Settings
from lake import row_writer
from lake.row_writer import literal
from lake.schemas import LABEL_CONFLICT, NONE_OF_THESE
from lake.table import Table
from organize.review.decision_log import claims
from organize.review.ranking import Doubtful

_COLUMNS = (
    "image_id", "label", "suggested_label", "label_quality", "label_reason", "duplicate_group", "flags",
)  # fmt: skip
_WHERE = (
    "coalesce(label_source, 'claimed') = 'claimed' AND NOT array_has(flags, {none_of_these}) "
    "AND (suggested_label IS NOT NULL OR array_has(flags, {conflict}))"
)


def load(settings: Settings, label: str | None = None) -> list[Doubtful]:
    """All samples that nobody has decided about and for which another label is suggested or claimed.

    Args:
        label: only samples with this label, a slug; None for all.

    Raises:
        StorageError: the lake cannot be read.
    """
    where = _WHERE.format(none_of_these=literal(NONE_OF_THESE), conflict=literal(LABEL_CONFLICT))
    if label is not None:
        where += f" AND label = {literal(label)}"
    rows = row_writer.read(settings, Table.SAMPLES, _COLUMNS, where)
    conflicts = [row["image_id"] for row in rows if LABEL_CONFLICT in (row["flags"] or ())]
    claimed = claims(settings, conflicts)
    return [
        Doubtful(
            image_id=row["image_id"],
            label=row["label"],
            suggested_label=row["suggested_label"],
            label_quality=row["label_quality"],
            reason="; ".join(
                filter(None, [_conflict(claimed.get(row["image_id"], ())), row["label_reason"]])
            ),
            group=row["duplicate_group"] or row["image_id"],
        )
        for row in rows
    ]


def _conflict(labels: Sequence[str]) -> str | None:
    different = list(dict.fromkeys(labels))
    return f"uploaded as {' and as '.join(different)}" if len(different) > 1 else None


def thumbnails(settings: Settings, image_ids: Sequence[str]) -> dict[str, bytes]:
    """Thumbnails of images: image id to JPEG."""
    if not image_ids:
        return {}
    where = f"verdict = 'accepted' AND image_id IN ({literal(*image_ids)})"
    rows = row_writer.read(settings, Table.UPLOADS, ("image_id", "thumbnail"), where)
    return {row["image_id"]: bytes(row["thumbnail"]) for row in rows if row["thumbnail"]}
