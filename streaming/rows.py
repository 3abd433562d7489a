"""Kafka records in, ledger rows out, as Arrow batches: the body of the one `mapInArrow` pass."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
from pyspark.sql import types as t
from pyspark.sql.pandas.types import to_arrow_schema

from lake.schemas import UPLOADS
from streaming import envelope, verify
from streaming.envelope import Envelope
from streaming.preprocess import Prepared, prepare
from streaming.record import Header
from streaming.rules import Rules
from streaming.verdict import Reason, Rejected, Verdict

# What the driver adds to the rows of a micro-batch.
_ADDED = {"ingest_time", "ingest_batch"}

ROWS = t.StructType([field for field in UPLOADS if field.name not in _ADDED])

Row = dict[str, Any]


def inspected(rules: Rules) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function for `DataFrame.mapInArrow(…, ROWS)`.

    Its input has the columns topic, partition, offset, timestamp, key, value and headers as Spark's Kafka
    source names them.
    """
    schema = to_arrow_schema(ROWS, timezone="UTC")

    def inspect(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            rows = [row_of(record, rules) for record in batch.to_pylist()]
            yield pa.RecordBatch.from_pylist(rows, schema=schema)

    return inspect


def row_of(record: Row, rules: Rules) -> Row:
    """The ledger row of one Kafka record; never raises for what a record contains."""
    headers = [(header["key"], header["value"]) for header in record["headers"] or ()]
    found = envelope.parse(record["key"], headers, rules)
    row: Row = {
        "topic": record["topic"],
        "partition": record["partition"],
        "offset": record["offset"],
        "kafka_time": record["timestamp"],
        "upload_id": found.upload_id,
        "device": found.device,
        "user": found.user,
        "batch": found.batch,
        "label": found.label,
        "geohash": found.geohash,
        "event_time": found.event_time,
        "bytes": len(record["value"] or b""),
    }
    try:
        content = _content(record["value"], found)
        row["image_id"] = verify.image_id(content, found.sha256, rules.ingest)
        return row | _accepted(prepare(content, rules))
    except Rejected as problem:
        return row | _rejected(problem, record["value"], headers)


def _content(value: bytes | None, found: Envelope) -> bytes:
    if found.problem is not None:
        raise found.problem
    if value is None and found.dataref is not None:
        raise Rejected(
            Reason.PAYLOAD_UNREACHABLE, f"{found.dataref}: no prefix is allowed for referenced payloads"
        )
    return value or b""


def _accepted(prepared: Prepared) -> Row:
    return vars(prepared) | {"verdict": Verdict.ACCEPTED, "metrics": vars(prepared.metrics)}


def _rejected(problem: Rejected, value: bytes | None, headers: Sequence[Header]) -> Row:
    return {
        "verdict": Verdict.REJECTED,
        "reason": problem.reason,
        "detail": problem.detail,
        "payload": value,
        "headers": [{"key": key, "value": content} for key, content in headers],
    }
