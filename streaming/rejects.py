"""Rejected uploads: chosen, listed, taken out with their original bytes, and sent again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as f

from conf.errors import UsageError
from conf.sections import Lake
from lake import tables
from lake.errors import LakeError
from lake.schemas import Table
from streaming.contract.producer_record import ProducerRecord
from streaming.contract.verdict import Reason, Verdict
from streaming.errors import NoRejects
from streaming.ledger.upload_index import Position

REPLAY_OF = "hub_replay_of"
_LISTED = [
    "topic", "partition", "offset", "reason", "detail", "upload_id", "device", "batch", "label", "bytes",
    "event_time", "ingest_time",
]  # fmt: skip
_AT_ONCE = 16  # rows with pixels on the driver; at most 10 MiB each


@dataclass(frozen=True)
class Selection:
    """Which rejected uploads are meant; what is left out is not asked for.

    Args:
        reasons, batches, devices: any of these.
        since: ingested at this time or later.
        positions: just these.
        limit: so many at most, the newest ones.
    """

    reasons: tuple[str, ...] = ()
    batches: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    since: datetime | None = None
    positions: tuple[Position, ...] = ()
    limit: int | None = None

    def of(self, spark: SparkSession, lake: Lake) -> DataFrame:
        """The rows of the ledger; `limit` is left to whoever orders them.

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
            rows = rows.where(_at(self.positions))
        return rows


@dataclass(frozen=True)
class Listing:
    """Rejected uploads, newest first.

    Args:
        counts: reason to uploads, of all that are meant, most frequent first.
        rows: of the ledger without pixels, as many as the selection's limit.
    """

    counts: dict[str, int]
    rows: list[dict[str, Any]]

    @property
    def total(self) -> int:
        """All that are meant."""
        return sum(self.counts.values())


def listing(spark: SparkSession, lake: Lake, selection: Selection) -> Listing:
    """List rejected uploads; reads no pixel column.

    Raises:
        LakeError: the lake has no ledger yet.
    """
    chosen = selection.of(spark, lake)
    counted = chosen.groupBy("reason").count().orderBy(f.col("count").desc(), "reason").collect()
    ordered = chosen.select(*_LISTED).orderBy(f.desc("ingest_time"), "topic", "partition", f.desc("offset"))
    rows = ordered.limit(selection.limit) if selection.limit is not None else ordered
    return Listing({row.reason: row["count"] for row in counted}, [row.asDict() for row in rows.collect()])


def position(text: str) -> Position:
    """Read topic/partition/offset.

    Raises:
        UsageError: it is not of that form.
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


def written(at: Position) -> str:
    """A position as `position` reads it."""
    return f"{at.topic}/{at.partition}/{at.offset}"


def original(spark: SparkSession, lake: Lake, at: Position) -> bytes:
    """The bytes of a rejected upload as they came.

    Raises:
        NoRejects: it was not rejected, or its bytes did not come with it.
    """
    row = Selection(positions=(at,)).of(spark, lake).select("payload", "headers").head()
    if row is None:
        raise NoRejects(f"{written(at)} is no rejected upload in {lake.root}; `hub rejects` lists them")
    if row.payload is None:
        where = dict(_headers(row)).get("ce_dataref")
        told = f"its content is at {where.decode(errors='replace')}" if where else "its value is null"
        raise NoRejects(f"{written(at)} came without bytes: {told}")
    return bytes(row.payload)


@dataclass(frozen=True)
class Replay:
    """Rejected uploads to be sent again.

    Args:
        counts: reason to uploads that will be sent.
        duplicates: uploads left out: their id was accepted before and would be refused again.
        chosen: their positions, oldest first.
    """

    counts: dict[str, int]
    duplicates: int
    chosen: Sequence[Position]


def replay_of(spark: SparkSession, lake: Lake, selection: Selection) -> Replay:
    """Choose what is sent again; reads no pixel column.

    Raises:
        NoRejects: nothing is left to send.
    """
    found = listing(spark, lake, selection)
    duplicates = [row for row in found.rows if row["reason"] == Reason.DUPLICATE_UPLOAD]
    rows = [row for row in found.rows if row["reason"] != Reason.DUPLICATE_UPLOAD]
    missing = set(selection.positions) - {_position(row) for row in found.rows}
    if missing:
        raise NoRejects(
            f"{written(min(missing))} is no rejected upload that is meant; `hub rejects` lists them"
        )
    if not rows:
        why = "no rejected upload is meant"
        if duplicates:
            why = f"{len(duplicates):,} duplicate_upload, their ids were accepted before: refused again"
        raise NoRejects(f"nothing to replay: {why}; see `hub rejects`")
    reasons = [row["reason"] for row in rows]
    counts = {reason: reasons.count(reason) for reason in found.counts if reason in reasons}
    return Replay(counts, len(duplicates), [_position(row) for row in reversed(rows)])


def records(spark: SparkSession, lake: Lake, replay: Replay) -> Iterator[ProducerRecord]:
    """The uploads as they came, with `hub_replay_of` saying from where, a few at a time.

    What came with too many headers has too many again or, where more are allowed by now, the contract's own.
    """
    for begin in range(0, len(replay.chosen), _AT_ONCE):
        part = replay.chosen[begin : begin + _AT_ONCE]
        rows = Selection(positions=tuple(part)).of(spark, lake)
        columns = rows.select("topic", "partition", "offset", "device", "payload", "headers")
        found = {_position(row.asDict()): row for row in columns.collect()}
        yield from (_record(at, found[at]) for at in part if at in found)


def _record(at: Position, row: Row) -> ProducerRecord:
    # A replay of a replay says where it was last; the other headers are those of the phone. One without a
    # value counts as absent and cannot be sent, no more than a record without key and value.
    headers = [(name, value) for name, value in _headers(row) if name != REPLAY_OF and value is not None]
    value = None if row.payload is None else bytes(row.payload)
    key = row.device.encode() if row.device is not None else b"" if value is None else None
    return ProducerRecord(key, value, [*headers, (REPLAY_OF, written(at).encode())])


def _headers(row: Row) -> list[tuple[str, bytes | None]]:
    return [(each.key, None if each.value is None else bytes(each.value)) for each in row.headers or ()]


def _position(row: dict[str, Any]) -> Position:
    return Position(row["topic"], row["partition"], row["offset"])


def _at(positions: Sequence[Position]) -> Any:
    """Whether a row lies at one of these; by topic and partition, so that Delta skips files."""
    groups: dict[tuple[str, int], list[int]] = {}
    for at in positions:
        groups.setdefault((at.topic, at.partition), []).append(at.offset)
    condition = f.lit(False)
    for (topic, partition), offsets in groups.items():
        here = (f.col("topic") == topic) & (f.col("partition") == partition) & f.col("offset").isin(*offsets)
        condition = condition | here
    return condition
