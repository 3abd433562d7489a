"""Numbers of the home page."""

from dataclasses import dataclass
from datetime import datetime

from web.data.mirror import Mirror

_LABELS = 12
_REASONS = 8


@dataclass(frozen=True)
class Counts:
    """How much there is.

    Args:
        uploads, accepted, rejected: rows of the ledger.
        today: uploads in the 24 hours before the newest.
        devices: that have sent uploads.
        last: the newest ingest time (UTC); None without uploads.
        labels, ready_labels: labels with accepted uploads, and those of them that can be trained on.
        datasets: dataset snapshots.
        models: models that can be used.
    """

    uploads: int
    accepted: int
    rejected: int
    today: int
    devices: int
    last: datetime | None
    labels: int
    ready_labels: int
    datasets: int
    models: int


@dataclass(frozen=True)
class ReasonCount:
    """A reason for rejection, the number of uploads, and their share of all rejected ones."""

    reason: str
    uploads: int
    share: float


@dataclass(frozen=True)
class LabelProgress:
    """A label and how far it is on its way to ready; `share` is at most 1."""

    label: str
    name: str
    accepted: int
    share: float
    ready: bool


def counts(mirror: Mirror, user: str | None = None) -> Counts:
    """Count rows; uploads of one user only, if one is given."""
    (row,) = mirror.rows(
        """WITH own AS (SELECT verdict, device, ingest_time FROM uploads
                WHERE verdict <> 'erased' AND ($user IS NULL OR user = $user)),
            newest AS (SELECT max(ingest_time) AS last FROM own)
        SELECT count(*) AS uploads, count(*) FILTER (verdict = 'accepted') AS accepted,
            count(*) FILTER (verdict = 'rejected') AS rejected,
            count(*) FILTER (ingest_time > (SELECT last FROM newest) - INTERVAL 24 HOUR) AS today,
            count(DISTINCT device) AS devices, (SELECT last FROM newest) AS last,
            (SELECT count(*) FROM labels WHERE accepted > 0) AS labels,
            (SELECT count(*) FROM labels WHERE ready) AS ready_labels,
            (SELECT count(*) FROM datasets) AS datasets,
            (SELECT count(*) FROM models WHERE state = 'ready') AS models
        FROM own""",
        {"user": user},
    )
    return Counts(**row)


def reasons(mirror: Mirror, user: str | None = None) -> list[ReasonCount]:
    """The most frequent reasons for rejection."""
    rows = mirror.rows(
        """SELECT reason, count(*) AS uploads, count(*) / sum(count(*)) OVER () AS share FROM uploads
        WHERE verdict = 'rejected' AND ($user IS NULL OR user = $user)
        GROUP BY reason ORDER BY uploads DESC, reason LIMIT $limit""",
        {"user": user, "limit": _REASONS},
    )
    return [ReasonCount(**row) for row in rows]


def labels_to_complete(mirror: Mirror, ready_images: int) -> list[LabelProgress]:
    """Labels that are not ready, the closest first; then the largest ready ones."""
    rows = mirror.rows(
        """SELECT label, coalesce(display_name, label) AS name, coalesce(accepted, 0) AS accepted,
            least(1, coalesce(accepted, 0) / $wanted) AS share, coalesce(ready, false) AS ready
        FROM labels WHERE accepted > 0
        ORDER BY ready, accepted DESC, label LIMIT $limit""",
        {"wanted": ready_images, "limit": _LABELS},
    )
    return [LabelProgress(**row) for row in rows]
