"""What came in over time and from where: uploads in equal spans of time, and by geohash cell."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pygeohash

from web.data.mirror import Mirror

_BARS = 48
_SPANS = tuple(
    timedelta(minutes=minutes)
    for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 240, 360, 720, 1440, 2880, 10080, 43200, 129600, 525600)
)
_CELLS = 2000


@dataclass(frozen=True)
class Span:
    """Uploads that were ingested from `begun` (UTC) on, for the length of the span."""

    begun: datetime
    accepted: int
    rejected: int


@dataclass(frozen=True)
class Rate:
    """Uploads over time; `length` of each span."""

    length: timedelta
    spans: tuple[Span, ...]

    @property
    def most(self) -> int:
        """Uploads in the fullest span."""
        return max((span.accepted + span.rejected for span in self.spans), default=0)


@dataclass(frozen=True)
class Cell:
    """A geohash cell with uploads; degrees of its borders."""

    geohash: str
    uploads: int
    west: float
    south: float
    east: float
    north: float


def rate(mirror: Mirror, user: str | None = None) -> Rate:
    """Uploads over the time in which there were any, in at most 48 equal spans.

    Args:
        user: whose uploads; None for all.
    """
    own = "verdict <> 'erased' AND ($user IS NULL OR user = $user)"
    (edge,) = mirror.rows(
        f"SELECT min(ingest_time) AS first, max(ingest_time) AS last FROM uploads WHERE {own}", {"user": user}
    )
    if edge["first"] is None:
        return Rate(_SPANS[0], ())
    length = _length(edge["last"] - edge["first"])
    rows = mirror.rows(
        f"""SELECT time_bucket(to_seconds($seconds), ingest_time) AS begun,
            count(*) FILTER (verdict = 'accepted') AS accepted,
            count(*) FILTER (verdict = 'rejected') AS rejected
        FROM uploads WHERE {own} GROUP BY begun ORDER BY begun""",
        {"user": user, "seconds": length.total_seconds()},
    )
    by_begin = {row["begun"]: Span(**row) for row in rows}
    begun, spans = rows[0]["begun"], []
    while begun <= edge["last"]:
        spans.append(by_begin.get(begun, Span(begun, 0, 0)))
        begun += length
    return Rate(length, tuple(spans))


def _length(whole: timedelta) -> timedelta:
    """The shortest span of which at most `_BARS` cover a time."""
    return next((span for span in _SPANS if whole / span < _BARS - 1), _SPANS[-1])


def cells(mirror: Mirror, user: str | None = None) -> list[Cell]:
    """Geohash cells of accepted uploads with their number, the fullest last, so that it is drawn on top."""
    rows = mirror.rows(
        """SELECT geohash, count(*) AS uploads FROM uploads
        WHERE geohash IS NOT NULL AND verdict = 'accepted' AND ($user IS NULL OR user = $user)
        GROUP BY geohash ORDER BY uploads DESC, geohash LIMIT $limit""",
        {"user": user, "limit": _CELLS},
    )
    return [_cell(row["geohash"], row["uploads"]) for row in reversed(rows)]


def _cell(geohash: str, uploads: int) -> Cell:
    latitude, longitude, up, aside = pygeohash.decode_exactly(geohash)
    return Cell(geohash, uploads, longitude - aside, latitude - up, longitude + aside, latitude + up)
