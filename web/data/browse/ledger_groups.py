"""The ledger in groups: an upload batch with its labels and reasons, and reasons for rejection."""

from dataclasses import dataclass

from web.data.catalogue import BATCHES, BatchRow
from web.data.keyset import Where
from web.data.mirror import Mirror
from web.data.versioned import kept_by_version


@dataclass(frozen=True)
class Part:
    """A value, its number of uploads, and their share of all."""

    value: str
    uploads: int
    share: float


def batch(mirror: Mirror, name: str) -> BatchRow | None:
    """An upload batch; None if there is none of this name."""
    found = BATCHES.page(mirror, 1, None, Where().equal(batch=name)).items
    return found[0] if found else None


def newest_batches(mirror: Mirror, limit: int) -> list[BatchRow]:
    """The batches with the newest uploads."""
    return BATCHES.page(mirror, limit, None).items


@kept_by_version
def parts(mirror: Mirror, column: str, verdict: str, batch: str | None = None) -> list[Part]:
    """Uploads with a verdict by the values of a column, the most frequent first.

    Args:
        column: of the ledger: label, reason or device.
        verdict: accepted or rejected.
        batch: only of this batch.
    """
    rows = mirror.rows(
        f"""SELECT "{column}" AS value, count(*) AS uploads, count(*) / sum(count(*)) OVER () AS share
        FROM uploads
        WHERE verdict = $verdict AND "{column}" IS NOT NULL AND ($batch IS NULL OR batch = $batch)
        GROUP BY value ORDER BY uploads DESC, value LIMIT 60""",
        {"verdict": verdict, "batch": batch},
    )
    return [Part(**row) for row in rows]
