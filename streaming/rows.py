"""Kafka records in, ledger rows out, as Arrow batches: the body of the one `mapInArrow` pass."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
from pyspark.sql import types as t
from pyspark.sql.pandas.types import to_arrow_schema

from lake.schemas import UPLOADS
from streaming import envelope, payloads, verify
from streaming.envelope import Envelope
from streaming.preprocess import Prepared, prepare
from streaming.record import Header
from streaming.rules import Rules
from streaming.verdict import Rejected, Verdict

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
            rows = rows_of(batch.to_pylist(), rules)
            yield pa.RecordBatch.from_pylist(list(rows), schema=schema)

    return inspect


def rows_of(records: Sequence[Row], rules: Rules) -> Iterator[Row]:
    """The ledger rows of Kafka records; pictures that travel as a reference are fetched a few ahead."""
    headers = [[(each["key"], each["value"]) for each in record["headers"] or ()] for record in records]
    found = [envelope.parse(record["key"], own, rules) for record, own in zip(records, headers, strict=True)]
    values = [record["value"] for record in records]
    contents = payloads.of(rules).contents(list(zip(values, found, strict=True)))
    for record, own, about, content in zip(records, headers, found, contents, strict=True):
        yield _row(record, own, about, content, rules)


def row_of(record: Row, rules: Rules) -> Row:
    """The ledger row of one Kafka record; never raises for what a record contains."""
    return next(rows_of([record], rules))


def _row(
    record: Row, headers: Sequence[Header], found: Envelope, content: payloads.Content, rules: Rules
) -> Row:
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
        if isinstance(content, Rejected):
            raise content
        row["bytes"] = len(content)
        row["image_id"] = verify.image_id(content, found.sha256, rules.ingest)
        return row | _accepted(prepare(content, rules))
    except Rejected as problem:
        return row | _rejected(problem, record["value"], headers)


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
