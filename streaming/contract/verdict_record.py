"""The record of a verdict in the topic of verdicts: CloudEvents 1.0 in Kafka's binary content mode.

The key is the device id, as in the upload's record, so that a device reads its verdicts in the order of the
ledger. The value is a JSON object with the fields below; it has no pixels and no original bytes. A record may
come more than once, after a crash or when followers start again: topic, partition and offset identify it.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from streaming.contract.record import SPEC_VERSION
from streaming.contract.verdict import Verdict

__all__ = ["FIELDS", "SPEC_VERSION", "TYPE", "VerdictRecord"]

TYPE = "hub.image.verdict.v1"

FIELDS = (
    "topic", "partition", "offset", "upload_id", "device", "user", "batch", "label", "label_name", "verdict",
    "reason", "detail", "flags", "image_id", "event_time", "kafka_time", "ingest_time",
)  # fmt: skip
"""Columns of `uploads` that the record has."""

_TIMES = ("event_time", "kafka_time", "ingest_time")


@dataclass(frozen=True)
class VerdictRecord:
    """The verdict on one upload.

    Args:
        topic, partition, offset: of the upload's record.
        upload_id: ce_id of the upload; None if the record had none that could be read.
        device, user, batch: as sent.
        label: slug of the label.
        label_name: the label as it was written.
        verdict: accepted or rejected.
        reason, detail: of a rejection.
        flags: of an accepted upload.
        image_id: SHA-256 of the picture (hex), if it was read.
        event_time: ce_time of the upload.
        kafka_time: when the broker stored the upload.
        ingest_time: when it was verified.
    """

    topic: str
    partition: int
    offset: int
    upload_id: str | None
    device: str | None
    user: str | None
    batch: str | None
    label: str | None
    label_name: str | None
    verdict: Verdict
    reason: str | None
    detail: str | None
    flags: tuple[str, ...]
    image_id: str | None
    event_time: datetime | None
    kafka_time: datetime | None
    ingest_time: datetime | None

    @classmethod
    def parse(cls, value: bytes) -> "VerdictRecord":
        """Parse the value of a record. Fields that a newer hub added are ignored.

        Raises:
            ValueError: it is no such JSON object.
        """
        try:
            fields: dict[str, Any] = json.loads(value)
            times = {name: fields[name] and datetime.fromisoformat(fields[name]) for name in _TIMES}
            values = {name: fields[name] for name in FIELDS} | times
            values |= {"verdict": Verdict(fields["verdict"]), "flags": tuple(fields["flags"] or ())}
            return cls(**values)
        except (KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
            raise ValueError(f"not a verdict record: {error!r}") from None
