"""The status of an upload for those who sent it: stored, accepted or rejected, in words they understand."""

from datetime import UTC, datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from streaming.contract.verdict_record import VerdictRecord
from web.data.uploads import LedgerUpload
from web.uploads.advice import advice
from web.uploads.receipts import Receipt


class State(StrEnum):
    """What became of an upload."""

    STORED = "stored"  # Kafka has it; the verdict follows
    ACCEPTED = "accepted"
    REJECTED = "rejected"


class UploadStatus(BaseModel):
    """An upload and what became of it; times are in UTC."""

    model_config = ConfigDict(frozen=True)

    id: str
    state: State
    label: str | None = None
    label_name: str | None = None
    device: str | None = None
    user: str | None = None
    batch: str | None = None
    reason: str | None = None
    detail: str | None = None
    flags: list[str] = []
    image_id: str | None = None
    event_time: datetime | None = None
    ingest_time: datetime | None = None
    what: str | None = None
    todo: str | None = None
    picture: str | None = None


def of_receipt(receipt: Receipt) -> UploadStatus:
    """The status of an upload without a verdict."""
    return UploadStatus(
        id=receipt.upload_id,
        state=State.STORED,
        label_name=receipt.label,
        device=receipt.device,
        user=receipt.user,
        batch=receipt.batch,
        event_time=datetime.fromisoformat(receipt.stored),
    )


def of_verdict(found: VerdictRecord | LedgerUpload) -> UploadStatus:
    """The status of an upload with a verdict, from the topic of verdicts or from the ledger."""
    words = advice(found.reason)
    accepted = found.verdict == State.ACCEPTED
    return UploadStatus(
        id=found.upload_id or "",
        state=State(found.verdict),
        label=found.label,
        label_name=found.label_name,
        device=found.device,
        user=found.user,
        batch=found.batch,
        reason=found.reason,
        detail=found.detail,
        flags=list(found.flags),
        image_id=found.image_id,
        event_time=_utc(found.event_time),
        ingest_time=_utc(found.ingest_time),
        what=words.what if words else None,
        todo=words.todo if words else None,
        picture=f"/api/v1/uploads/{found.upload_id}/picture" if accepted and found.upload_id else None,
    )


def _utc(time: datetime | None) -> datetime | None:
    """A time with its zone: those of the copies have none."""
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time
