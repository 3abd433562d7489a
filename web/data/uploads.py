"""Uploads in the copy of the ledger: one by its id, and pages of them, the newest first."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from streaming.contract.verdict import Reason
from web.data.keyset import Listing, Page, Where
from web.data.mirror import Mirror


@dataclass(frozen=True)
class LedgerUpload:
    """An upload in the ledger, without pixels.

    Args:
        file_id, file_row: where its pixels are: the number of the data file, and the row in it.
        other fields: as in the ledger; times are naive and in UTC.
    """

    upload_id: str | None
    device: str | None
    user: str | None
    batch: str | None
    label: str | None
    label_name: str | None
    verdict: str
    reason: str | None
    detail: str | None
    flags: tuple[str, ...]
    image_id: str | None
    event_time: datetime | None
    ingest_time: datetime
    format: str | None
    width: int | None
    height: int | None
    geohash: str | None
    file_id: int
    file_row: int

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "LedgerUpload":
        """Make it from a row of the copy."""
        return cls(**dict(row) | {"flags": tuple(row["flags"] or ())})


class UploadFilter(BaseModel):
    """Which uploads a page lists; None means any.

    Args:
        user, device, batch, label, verdict, reason: as in the ledger.
        flag: one that the upload has.
    """

    model_config = ConfigDict(frozen=True)

    user: str | None = None
    device: str | None = None
    batch: str | None = None
    label: str | None = None
    verdict: str | None = None
    reason: str | None = None
    flag: str | None = None


_COLUMNS = tuple(LedgerUpload.__dataclass_fields__)
_LIST = ", ".join(f'"{name}"' for name in _COLUMNS)
_LISTING = Listing(
    "uploads",
    _COLUMNS,
    {"ingest_time": "TIMESTAMP", "partition": "INTEGER", "offset": "BIGINT"},
    LedgerUpload.of,
    descending=True,
)


def find(mirror: Mirror, upload_id: str) -> LedgerUpload | None:
    """The upload of an id. If it was sent more than once, the first one counts."""
    return find_all(mirror, [upload_id]).get(upload_id)


def find_all(mirror: Mirror, upload_ids: list[str]) -> dict[str, LedgerUpload]:
    """Those of many ids that the ledger has; see `find`."""
    # One id by `=`, because only that uses the index. Sorted here: ORDER BY takes three times as long.
    one = len(upload_ids) == 1
    rows = mirror.rows(
        f"SELECT {_LIST} FROM uploads WHERE upload_id {'= ?' if one else 'IN (SELECT unnest(?))'}",
        upload_ids if one else [upload_ids],
    )
    found: dict[str, LedgerUpload] = {}
    for row in sorted(rows, key=lambda row: (row["reason"] == Reason.DUPLICATE_UPLOAD, row["ingest_time"])):
        found.setdefault(row["upload_id"], LedgerUpload.of(row))
    return found


def page(
    mirror: Mirror, wanted: UploadFilter, limit: int, after: str | None = None, repeated: bool = True
) -> Page[LedgerUpload]:
    """A page of uploads, the newest first; erased ones are not listed.

    Args:
        repeated: list also records of an id that the ledger has already.
    """
    equal = vars(wanted) | {"flag": None}
    where = Where(["verdict <> 'erased'"]).equal(**equal)
    if wanted.flag is not None:
        where = where.holds("list_contains(flags, $flag)", flag=wanted.flag)
    if not repeated:
        where = where.holds("reason IS DISTINCT FROM $repeated", repeated=Reason.DUPLICATE_UPLOAD.value)
    return _LISTING.page(mirror, limit, after, where)
