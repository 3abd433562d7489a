"""Kafka records to ledger rows, in Arrow batches: the function that `mapInArrow` runs on executors."""

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

# Columns that the driver adds to the rows of a micro-batch.
_DRIVER_COLUMNS = {"ingest_time", "ingest_batch"}

ROW_SCHEMA = t.StructType([field for field in UPLOADS if field.name not in _DRIVER_COLUMNS])

Row = dict[str, Any]
_END_OF_YEARS = int(datetime(YEARS[-1] + 1, 1, 1, tzinfo=UTC).timestamp()) * 10**6  # microseconds since 1970


def make_batch_verifier(rules: Rules) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Make the function for `DataFrame.mapInArrow(…, ROW_SCHEMA)`.

    Its input has the columns of Spark's Kafka source, with headers.
    """
    schema = to_arrow_schema(ROW_SCHEMA, timezone="UTC")

    def verify_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        refuse_recompute()
        for batch in batches:
            yield verify_batch(batch)

    def verify_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
        with python_workers.gc_after_batch():
            rows = ledger_rows(read_records(batch, rules.ingest), rules)
            return pa.RecordBatch.from_pylist(rows, schema=schema)

    return verify_batches


class ConsumerRecord(NamedTuple):
    """A Kafka record; its value is a view into the Arrow batch.

    Args:
        time: microseconds since 1970; Arrow reads and writes integers faster than `datetime` objects.
        headers: at most `ingest.max_headers`.
        omitted: number of further headers, which were not read.
    """

    topic: str
    partition: int
    offset: int
    time: int | None
    key: bytes | None
    value: Buffer | None
    headers: Sequence[Header]
    omitted: int = 0


def read_records(batch: pa.RecordBatch, limits: Ingest) -> list[ConsumerRecord]:
    """Read the records from an Arrow batch of Spark's Kafka source."""
    topic, partition, offset, key = (
        batch.column(name).to_pylist() for name in ("topic", "partition", "offset", "key")
    )
    stamps = batch.column("timestamp").cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    # A producer may set any time (CreateTime topics); one that `datetime` cannot represent becomes null.
    valid = pc.and_(pc.greater_equal(stamps, 0), pc.less(stamps, _END_OF_YEARS))
    time = pc.if_else(valid, stamps, None).to_pylist()
    values = _read_values(batch.column("value"))
    kept, omitted = headers.from_arrow(batch.column("headers"), limits.max_headers)
    return list(map(ConsumerRecord, topic, partition, offset, time, key, values, kept, omitted))


def _read_values(column: pa.Array) -> list[Buffer | None]:
    # Arrow buffers have signed bytes; the other code expects 0 to 255.
    return [memoryview(value.as_buffer()).cast("B") if value.is_valid else None for value in column]


def ledger_rows(records: Sequence[ConsumerRecord], rules: Rules) -> list[Row]:
    """Make the ledger row of each Kafka record, in the same order; an invalid record becomes a rejected row.

    Referenced pictures are prefetched; pictures are decoded whenever more than `ingest.arrow_bytes` are held.
    """
    parsed = [envelope.parse(record.key, record.headers, rules, record.omitted) for record in records]
    values = [(record.value, fields) for record, fields in zip(records, parsed, strict=True)]
    contents = payloads.fetcher_for(rules).contents(values)
    rows: list[Row] = []
    pending: list[_CheckedPicture] = []
    size = 0
    for record, fields, content in zip(records, parsed, contents, strict=True):
        rows.append(_envelope_columns(record, fields))
        try:
            pending.append(_check_content(rows[-1], record, fields, content, rules))
        except Rejected as problem:
            rows[-1] |= _rejected_columns(problem, record)
            continue
        size += len(pending[-1].content)
        if size > rules.ingest.arrow_bytes:
            _prepare_pictures(pending, rules)
            pending, size = [], 0
    _prepare_pictures(pending, rules)
    return rows


class _CheckedPicture(NamedTuple):
    """A picture with checked size and hash, and the row that receives its outcome."""

    row: Row
    record: ConsumerRecord
    content: Buffer


def _check_content(
    row: Row, record: ConsumerRecord, fields: Envelope, content: payloads.Content, rules: Rules
) -> _CheckedPicture:
    """Check the size and hash of a picture, and add them to its row; raises `Rejected`."""
    if isinstance(content, Rejected):
        raise content
    row["bytes"] = len(content)
    row["image_id"] = file_checks.image_id(content, fields.sha256, rules.ingest)
    return _CheckedPicture(row, record, content)


def _prepare_pictures(pictures: Sequence[_CheckedPicture], rules: Rules) -> None:
    """Decode pictures, and add the outcomes to their rows."""
    outcomes = decoder.prepare([picture.content for picture in pictures], rules)
    for (row, record, _), outcome in zip(pictures, outcomes, strict=True):
        if isinstance(outcome, Rejected):
            row |= _rejected_columns(outcome, record)
        else:
            row |= _accepted_columns(outcome)


def _envelope_columns(record: ConsumerRecord, fields: Envelope) -> Row:
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "kafka_time": record.time,
        "upload_id": fields.upload_id,
        "device": fields.device,
        "user": fields.user,
        "batch": fields.batch,
        "label": fields.label,
        "label_name": fields.label_name,
        "geohash": fields.geohash,
        "event_time": fields.event_time,
        "bytes": len(record.value or b""),
    }


def _accepted_columns(prepared: Prepared) -> Row:
    return prepared._asdict() | {"verdict": Verdict.ACCEPTED, "metrics": prepared.metrics._asdict()}


def _rejected_columns(problem: Rejected, record: ConsumerRecord) -> Row:
    return {
        "verdict": Verdict.REJECTED,
        "reason": problem.reason,
        "detail": problem.detail,
        "payload": None if record.value is None else bytes(record.value),
        "headers": [{"key": key, "value": value} for key, value in record.headers],
    }
