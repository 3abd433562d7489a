"""Rejected uploads: selects and lists them, reads their original bytes, and replays them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as f

from conf.errors import UsageError
from conf.sections import Lake
from lake import tables
from lake.errors import LakeError
from lake.table import Table
from streaming.contract.producer_record import ProducerRecord
from streaming.contract.verdict import Reason, Verdict
from streaming.errors import NoRejects
from streaming.ledger.upload_index import Position

REPLAY_OF = "hub_replay_of"
_LISTED = [
    "topic", "partition", "offset", "reason", "detail", "upload_id", "device", "batch", "label", "bytes",
    "event_time", "ingest_time",
]  # fmt: skip
_ROWS_PER_READ = 16  # rows with pictures in the driver's memory; at most 10 MiB each


@dataclass(frozen=True)
class Selection:
    """A filter for rejected uploads; all given conditions must hold.

    Args:
        reasons, batches, devices: any of these.
        since: ingested at this time or later.
        positions: only these.
        limit: maximum number, the newest ones.
    """

    reasons: tuple[str, ...] = ()
    batches: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    since: datetime | None = None
    positions: tuple[Position, ...] = ()
    limit: int | None = None

    def rows(self, spark: SparkSession, lake: Lake) -> DataFrame:
        """The selected ledger rows. Ignores `limit`: the caller orders them first.

        Raises:
            LakeError: the lake has no ledger yet.
        """
        if not tables.exists(spark, lake, Table.UPLOADS):
            raise LakeError(f"no tables in {lake.root}: run `hub ingest` first, or set HUB__LAKE__ROOT")
        rows = tables.read(spark, lake, Table.UPLOADS).where(f.col("verdict") == Verdict.REJECTED.value)
        for column, values in (("reason", self.reasons), ("batch", self.batches), ("device", self.devices)):
            if values:
                rows = rows.where(f.col(column).isin(*values))
        if self.since is not None:
            rows = rows.where(f.col("ingest_time") >= f.lit(self.since))
        if self.positions:
            rows = rows.where(_is_at(self.positions))
        return rows


@dataclass(frozen=True)
class Listing:
    """Rejected uploads, newest first.

    Args:
        counts: reason to number of selected uploads, without the limit, most frequent first.
        rows: of the ledger without pictures, at most the selection's limit.
    """

    counts: dict[str, int]
    rows: list[dict[str, Any]]

    @property
    def total(self) -> int:
        """Number of selected uploads, without the limit."""
        return sum(self.counts.values())


def list_rejects(spark: SparkSession, lake: Lake, selection: Selection) -> Listing:
    """List rejected uploads; reads no picture columns.

    Raises:
        LakeError: the lake has no ledger yet.
    """
    selected = selection.rows(spark, lake)
    counts = selected.groupBy("reason").count().orderBy(f.col("count").desc(), "reason").collect()
    order = f.desc("ingest_time"), "topic", "partition", f.desc("offset")
    ordered = selected.select(*_LISTED).orderBy(*order)
    rows = ordered.limit(selection.limit) if selection.limit is not None else ordered
    return Listing(
        {row.reason: row["count"] for row in counts}, [_with_zone(row.asDict()) for row in rows.collect()]
    )


def _with_zone(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its times in UTC; Spark gives them in the time zone of the process, without saying so."""
    return {
        name: value.astimezone(UTC) if isinstance(value, datetime) else value for name, value in row.items()
    }


def parse_position(text: str) -> Position:
    """Parse topic/partition/offset.

    Raises:
        UsageError: the text has another form.
    """
    topic, _, rest = text.partition("/")
    partition, _, offset = rest.partition("/")
    if (
        not topic
        or not partition.isdecimal()
        or not offset.isdecimal()
        or max(len(partition), len(offset)) > 18
    ):
        raise UsageError(
            f"{text!r} is not topic/partition/offset, such as images/0/17; `hub rejects` lists them"
        )
    return Position(topic, int(partition), int(offset))


def format_position(at: Position) -> str:
    """Format a position for `parse_position`."""
    return f"{at.topic}/{at.partition}/{at.offset}"


def original_bytes(spark: SparkSession, lake: Lake, at: Position) -> bytes:
    """Read the original bytes of a rejected upload.

    Raises:
        NoRejects: the upload was not rejected, or its record had no value.
    """
    row = Selection(positions=(at,)).rows(spark, lake).select("payload", "headers").head()
    if row is None:
        raise NoRejects(
            f"{format_position(at)} is not a rejected upload in {lake.root}; `hub rejects` lists them"
        )
    if row.payload is None:
        dataref = dict(_headers(row)).get("ce_dataref")
        why = f"its content is at {dataref.decode(errors='replace')}" if dataref else "its value is null"
        raise NoRejects(f"{format_position(at)} was sent without bytes: {why}")
    return bytes(row.payload)


@dataclass(frozen=True)
class Replay:
    """Rejected uploads that are to be sent again.

    Args:
        counts: reason to number of uploads.
        duplicates: number of uploads that are skipped, because their id was accepted before.
        positions: of the uploads, oldest first.
    """

    counts: dict[str, int]
    duplicates: int
    positions: Sequence[Position]


def plan_replay(spark: SparkSession, lake: Lake, selection: Selection) -> Replay:
    """Select the uploads that are to be sent again; reads no picture columns.

    Raises:
        NoRejects: there is nothing to send.
    """
    listing = list_rejects(spark, lake, selection)
    duplicates = [row for row in listing.rows if row["reason"] == Reason.DUPLICATE_UPLOAD]
    rows = [row for row in listing.rows if row["reason"] != Reason.DUPLICATE_UPLOAD]
    missing = set(selection.positions) - {_position(row) for row in listing.rows}
    if missing:
        raise NoRejects(
            f"{format_position(min(missing))} is not a selected rejected upload; `hub rejects` lists them"
        )
    if not rows:
        why = "no rejected upload is selected"
        if duplicates:
            why = f"{len(duplicates):,} duplicate_upload, accepted before: they would be rejected again"
        raise NoRejects(f"nothing to replay: {why}; see `hub rejects`")
    reasons = [row["reason"] for row in rows]
    counts = {reason: reasons.count(reason) for reason in listing.counts if reason in reasons}
    return Replay(counts, len(duplicates), [_position(row) for row in reversed(rows)])


def replay_records(spark: SparkSession, lake: Lake, replay: Replay) -> Iterator[ProducerRecord]:
    """Read the original records, a few at a time, with their position in the added header `hub_replay_of`.

    An upload that had too many headers still has too many or, if the limit was raised, the contract's own.
    """
    for start in range(0, len(replay.positions), _ROWS_PER_READ):
        chunk = replay.positions[start : start + _ROWS_PER_READ]
        rows = Selection(positions=tuple(chunk)).rows(spark, lake)
        columns = rows.select("topic", "partition", "offset", "device", "payload", "headers")
        row_at = {_position(row.asDict()): row for row in columns.collect()}
        yield from (_record(at, row_at[at]) for at in chunk if at in row_at)


def _record(at: Position, row: Row) -> ProducerRecord:
    # The replay of a replay names the last position only; the other headers are the phone's. The client can
    # send neither a header without a value (the contract treats it as absent) nor an empty record.
    headers = [(name, value) for name, value in _headers(row) if name != REPLAY_OF and value is not None]
    value = None if row.payload is None else bytes(row.payload)
    key = row.device.encode() if row.device is not None else b"" if value is None else None
    return ProducerRecord(key, value, [*headers, (REPLAY_OF, format_position(at).encode())])


def _headers(row: Row) -> list[tuple[str, bytes | None]]:
    return [(each.key, None if each.value is None else bytes(each.value)) for each in row.headers or ()]


def _position(row: dict[str, Any]) -> Position:
    return Position(row["topic"], row["partition"], row["offset"])


def _is_at(positions: Sequence[Position]) -> Any:
    """Condition for rows at any of these positions; grouped by partition, so that Delta can skip files."""
    groups: dict[tuple[str, int], list[int]] = {}
    for at in positions:
        groups.setdefault((at.topic, at.partition), []).append(at.offset)
    condition = f.lit(False)
    for (topic, partition), offsets in groups.items():
        in_partition = (f.col("topic") == topic) & (f.col("partition") == partition)
        condition = condition | (in_partition & f.col("offset").isin(*offsets))
    return condition
