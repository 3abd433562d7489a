"""Kafka records in, ledger rows out, as Arrow batches: the body of the one `mapInArrow` pass."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import types as t
from pyspark.sql.pandas.types import to_arrow_schema

from conf.sections import Ingest
from lake.schemas import UPLOADS
from lake.spark import python_workers
from streaming.contract import envelope, headers
from streaming.contract.envelope import Envelope
from streaming.contract.record import YEARS, Header
from streaming.contract.rules import Rules
from streaming.contract.verdict import Rejected, Verdict
from streaming.isolate import decoder, payloads
from streaming.isolate.recompute_guard import refuse_recompute
from streaming.isolate.shared_memory import Buffer
from streaming.verify import file_checks
from streaming.verify.prepared import Prepared

# What the driver adds to the rows of a micro-batch.
_ADDED = {"ingest_time", "ingest_batch"}

ROWS = t.StructType([field for field in UPLOADS if field.name not in _ADDED])

Row = dict[str, Any]
_END = int(datetime(YEARS[-1] + 1, 1, 1, tzinfo=UTC).timestamp()) * 10**6  # microseconds since 1970


def inspected(rules: Rules) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function for `DataFrame.mapInArrow(…, ROWS)`.

    Its input has the columns topic, partition, offset, timestamp, key, value and headers as Spark's Kafka
    source names them.
    """
    schema = to_arrow_schema(ROWS, timezone="UTC")

    def inspect(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        refuse_recompute()
        for batch in batches:
            yield judged(batch)

    def judged(batch: pa.RecordBatch) -> pa.RecordBatch:
        with python_workers.gc_after_batch():
            return pa.RecordBatch.from_pylist(rows_of(records(batch, rules.ingest), rules), schema=schema)

    return inspect


class ConsumerRecord(NamedTuple):
    """A record as Kafka gave it; the value is a view into the Arrow batch.

    Args:
        time: microseconds since 1970, as Arrow has it: a `datetime` would be made only to be taken apart.
        headers: `ingest.max_headers` at most.
        omitted: headers beyond those.
    """

    topic: str
    partition: int
    offset: int
    time: int | None
    key: bytes | None
    value: Buffer | None
    headers: Sequence[Header]
    omitted: int = 0


def records(batch: pa.RecordBatch, limits: Ingest) -> list[ConsumerRecord]:
    """The records of a batch of Spark's Kafka source."""
    topic, partition, offset, key = (
        batch.column(name).to_pylist() for name in ("topic", "partition", "offset", "key")
    )
    stamps = batch.column("timestamp").cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    # A topic may take its producers' word for the time; what no `datetime` could give back is none.
    known = pc.and_(pc.greater_equal(stamps, 0), pc.less(stamps, _END))
    time = pc.if_else(known, stamps, None).to_pylist()
    values = _values(batch.column("value"))
    kept, omitted = headers.of_records(batch.column("headers"), limits.max_headers)
    return list(map(ConsumerRecord, topic, partition, offset, time, key, values, kept, omitted))


def _values(column: pa.Array) -> list[Buffer | None]:
    # Arrow hands out signed bytes; everything else here counts from 0 to 255.
    return [memoryview(value.as_buffer()).cast("B") if value.is_valid else None for value in column]


def rows_of(records: Sequence[ConsumerRecord], rules: Rules) -> list[Row]:
    """The ledger rows of Kafka records, in their order; never raises for what a record contains.

    Pictures that travel as a reference are fetched a few ahead, and no more of them are held than
    `ingest.arrow_bytes`.
    """
    found = [envelope.parse(record.key, record.headers, rules, record.omitted) for record in records]
    values = [(record.value, about) for record, about in zip(records, found, strict=True)]
    contents = payloads.of(rules).contents(values)
    rows: list[Row] = []
    whole: list[_Whole] = []
    size = 0
    for record, about, content in zip(records, found, contents, strict=True):
        rows.append(_row(record, about))
        try:
            whole.append(_whole(rows[-1], record, about, content, rules))
        except Rejected as problem:
            rows[-1] |= _rejected(problem, record)
            continue
        size += len(whole[-1].content)
        if size > rules.ingest.arrow_bytes:
            _judge(whole, rules)
            whole, size = [], 0
    _judge(whole, rules)
    return rows


class _Whole(NamedTuple):
    """A picture that has arrived whole, and the row that its outcome goes into."""

    row: Row
    record: ConsumerRecord
    content: Buffer


def _whole(
    row: Row, record: ConsumerRecord, about: Envelope, content: payloads.Content, rules: Rules
) -> _Whole:
    if isinstance(content, Rejected):
        raise content
    row["bytes"] = len(content)
    row["image_id"] = file_checks.image_id(content, about.sha256, rules.ingest)
    return _Whole(row, record, content)


def _judge(whole: Sequence[_Whole], rules: Rules) -> None:
    """Add to rows what their pictures come to."""
    outcomes = decoder.prepare([each.content for each in whole], rules)
    for (row, record, _), outcome in zip(whole, outcomes, strict=True):
        row |= _rejected(outcome, record) if isinstance(outcome, Rejected) else _accepted(outcome)


def _row(record: ConsumerRecord, found: Envelope) -> Row:
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "kafka_time": record.time,
        "upload_id": found.upload_id,
        "device": found.device,
        "user": found.user,
        "batch": found.batch,
        "label": found.label,
        "geohash": found.geohash,
        "event_time": found.event_time,
        "bytes": len(record.value or b""),
    }


def _accepted(prepared: Prepared) -> Row:
    return prepared._asdict() | {"verdict": Verdict.ACCEPTED, "metrics": prepared.metrics._asdict()}


def _rejected(problem: Rejected, record: ConsumerRecord) -> Row:
    return {
        "verdict": Verdict.REJECTED,
        "reason": problem.reason,
        "detail": problem.detail,
        "payload": None if record.value is None else bytes(record.value),
        "headers": [{"key": key, "value": content} for key, content in record.headers],
    }
