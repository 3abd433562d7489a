"""The ledger (table `uploads`): each micro-batch of Kafka records becomes one commit."""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import reduce
from operator import or_
from threading import Event

import pyarrow as pa
import pyarrow.compute as pc
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.storagelevel import StorageLevel

from conf.sections import Lake
from lake import tables, transactions
from lake.erasure.erased_ids import digest
from lake.schemas import UPLOADS
from lake.spark.session_properties import CODEGEN, temporary_properties
from lake.table import Table
from streaming.contract.rules import Rules
from streaming.contract.verdict import Reason, Verdict
from streaming.isolate.arrow_batches import ROW_SCHEMA, make_batch_verifier
from streaming.isolate.recompute_guard import recompute_refused, was_recomputed
from streaming.ledger.commit_gate import CommitGate
from streaming.ledger.upload_index import AcceptedUploads, Position, UploadIndex

_POSITION = ["topic", "partition", "offset"]
_PICTURES = ["jpeg", "thumbnail"]
_ATTEMPTS = 4
CODEGEN_ROWS = 40_000  # from so many rows on, generated code saves more time than its compilation takes


@dataclass(frozen=True)
class BatchCounts:
    """Counts of one micro-batch: records, accepted, and rejected by reason."""

    records: int
    accepted: int
    rejected: dict[str, int]


@dataclass(frozen=True)
class Ledger:
    """Writes micro-batches to `uploads`, each exactly once.

    Args:
        lake: the lake that has the ledger.
        rules: checks and limits for uploads.
        index: upload ids that were accepted so far.
        on_batch: called with the counts of each batch after its commit.
        gate: nothing is committed once it is closed.
    """

    lake: Lake
    rules: Rules
    index: UploadIndex
    on_batch: Callable[[BatchCounts], None]
    gate: CommitGate = field(default_factory=CommitGate)
    _first_checked: Event = field(default_factory=Event, init=False)

    def write(self, records: DataFrame, batch: int) -> None:
        """Verify and commit one micro-batch; calling it again with the same batch changes nothing.

        Pictures are decoded once and never shuffled. The rows are cached until the commit, because duplicate
        ids are found only when all rows exist. If a cached partition is lost with its executor, the whole
        micro-batch is verified again.
        """
        spark = records.sparkSession
        attempts = 0 if self._is_committed(spark, batch) else _ATTEMPTS
        for attempts_left in reversed(range(attempts)):
            rows = records.mapInArrow(make_batch_verifier(self.rules), ROW_SCHEMA).persist(
                StorageLevel.MEMORY_AND_DISK
            )
            try:
                self._write(rows, records, batch)
                break
            except (PySparkException, Py4JJavaError) as error:
                if not attempts_left or not was_recomputed(error):
                    raise
            finally:
                rows.unpersist()

    def _is_committed(self, spark: SparkSession, batch: int) -> bool:
        """Whether the ledger already has this micro-batch; checked for the first batch after a restart.

        Verified again, with other settings or an object store that is available again, its uploads could get
        verdicts that differ from the ledger.
        """
        if self._first_checked.is_set():
            return False
        self._first_checked.set()
        return transactions.last_batch(spark, self.lake, Table.UPLOADS, _transaction_app(spark)) >= batch

    def _write(self, rows: DataFrame, records: DataFrame, batch: int) -> None:
        # The plan is the same for each micro-batch, so its generated code is compiled once.
        spark = rows.sparkSession
        with (
            transactions.prefetch(spark, self.lake, Table.UPLOADS),
            temporary_properties(spark, CODEGEN),
        ):
            verdicts = _collect_verdicts(rows)
        if not len(verdicts):
            return  # the markers of transactions are no records
        accepted = _accepted_uploads(verdicts)
        duplicates = self.index.find_duplicates(accepted)
        final = reject_duplicates(rows, records, duplicates) if duplicates else rows
        with self.gate.commit_section():
            with recompute_refused(spark):
                self._append(final, batch, len(verdicts))
            self._record_commit(spark, verdicts, accepted, duplicates)

    def _record_commit(
        self,
        spark: SparkSession,
        verdicts: pa.Table,
        accepted: AcceptedUploads,
        duplicates: dict[Position, Position],
    ) -> None:
        """Add the uploads of a committed micro-batch to the index, and report its counts."""
        version = tables.version(spark, self.lake, Table.UPLOADS)
        self.index.add_in_background(
            version, _next_offsets(verdicts), accepted.without(duplicates) if duplicates else accepted
        )
        reasons = Counter(verdicts["reason"].drop_null().to_pylist())
        if duplicates:
            reasons[Reason.DUPLICATE_UPLOAD.value] = len(duplicates)
        self.on_batch(BatchCounts(len(verdicts), len(accepted) - len(duplicates), dict(reasons)))

    def _append(self, rows: DataFrame, batch: int, records: int) -> None:
        stamped = (
            rows.withColumn("ingest_time", f.lit(datetime.now(UTC)))
            .withColumn("ingest_batch", f.lit(batch).cast("long"))
            .select(*UPLOADS.names)
        )
        spark = rows.sparkSession
        with temporary_properties(spark, CODEGEN) if records > CODEGEN_ROWS else nullcontext():
            tables.write_once(stamped, self.lake, Table.UPLOADS, _transaction_app(spark), batch)


def _collect_verdicts(rows: DataFrame) -> pa.Table:
    """Collect the columns that the driver needs, as Arrow: the executors wait while the driver reads them."""
    return rows.select(*_POSITION, "upload_id", "verdict", "reason").toArrow()


def _accepted_uploads(verdicts: pa.Table) -> AcceptedUploads:
    accepted = verdicts.filter(pc.equal(verdicts["verdict"], Verdict.ACCEPTED.value))
    keys = list(map(digest, accepted["upload_id"].to_pylist()))
    return AcceptedUploads(keys, *(accepted[name].to_pylist() for name in _POSITION))


def _next_offsets(verdicts: pa.Table) -> dict[tuple[str, int], int]:
    """Topic and partition to the offset after the last of the rows."""
    last = verdicts.group_by(["topic", "partition"]).aggregate([("offset", "max")]).to_pylist()
    return {(row["topic"], row["partition"]): row["offset_max"] + 1 for row in last}


def _transaction_app(spark: SparkSession) -> str:
    """The Delta `txnAppId` of the ledger's commits; with the batch id it makes a commit idempotent."""
    return f"ingest-{query_id(spark)}"


def query_id(spark: SparkSession) -> str:
    """Id of the calling streaming query; it stays the same as long as the query's checkpoint exists."""
    return str(spark.sparkContext.getLocalProperty("sql.streaming.queryId"))


def reject_duplicates(rows: DataFrame, records: DataFrame, duplicates: dict[Position, Position]) -> DataFrame:
    """Change accepted rows that repeat an upload id into rejected rows with their original bytes.

    The original bytes are read from Kafka again, only in batches with a duplicate; so the rows of accepted
    uploads need not carry them.

    Args:
        duplicates: position of each duplicate, to the position of the first upload with its id.
    """
    spark = rows.sparkSession
    marks = spark.createDataFrame(
        [
            (at.topic, at.partition, at.offset, f"first at {first.topic}/{first.partition}/{first.offset}")
            for at, first in duplicates.items()
        ],
        "topic string, partition int, offset long, mark string",
    )
    rejected = (
        rows.drop("payload", "headers", *_PICTURES)
        .join(f.broadcast(marks), _POSITION)
        .withColumn("verdict", f.lit(Verdict.REJECTED.value))
        .withColumn("reason", f.lit(Reason.DUPLICATE_UPLOAD.value))
        .withColumn("detail", f.col("mark"))
        .drop("mark")
    )
    originals = records.select(*_POSITION, f.col("value").alias("payload"), "headers")
    with_originals = originals.join(f.broadcast(rejected), _POSITION)
    kept = rows.join(f.broadcast(marks.drop("mark")), _POSITION, "left_anti")
    return kept.unionByName(with_originals, allowMissingColumns=True)


def update_index(spark: SparkSession, lake: Lake, index: UploadIndex) -> UploadIndex:
    """Update an index from the ledger: the last commits after a crash, or all of it on a new machine.

    Kafka positions show which rows are new; batch ids cannot: they restart at 0 with a new checkpoint. If the
    ledger was restored from a backup or to an old version, the index is ahead of it and is rebuilt.
    """
    version = tables.version(spark, lake, Table.UPLOADS)
    if index.version() == version:
        return index
    if not _has_last_records(spark, lake, version, index.next_offsets()):
        index.clear()
    known = index.next_offsets()
    newer = ~reduce(or_, (_before(*partition, offset) for partition, offset in known.items()), f.lit(False))
    rows = tables.read(spark, lake, Table.UPLOADS, version).where(newer)
    newest = rows.groupBy("topic", "partition").agg(f.max("offset").alias("offset")).toArrow()
    # An erased upload keeps a hash of its id, which `digest` returns unchanged.
    known_ids = f.col("verdict").isin(Verdict.ACCEPTED.value, Verdict.ERASED.value)
    accepted = rows.where(known_ids & f.col("upload_id").isNotNull()).select("upload_id", *_POSITION)
    uploads = (
        (digest(row.upload_id), row.topic, row.partition, row.offset) for row in accepted.toLocalIterator()
    )
    index.add(version, _next_offsets(newest), uploads)
    return index


def _has_last_records(
    spark: SparkSession, lake: Lake, version: int, next_offsets: Mapping[tuple[str, int], int]
) -> bool:
    """Whether the ledger has the last record of each partition in the index."""
    positions = (_at(*partition, offset - 1) for partition, offset in next_offsets.items())
    last = reduce(or_, positions, f.lit(False))
    return tables.read(spark, lake, Table.UPLOADS, version).where(last).count() == len(next_offsets)


def _at(topic: str, partition: int, offset: int) -> Column:
    return (f.col("topic") == topic) & (f.col("partition") == partition) & (f.col("offset") == offset)


def _before(topic: str, partition: int, offset: int) -> Column:
    return (f.col("topic") == topic) & (f.col("partition") == partition) & (f.col("offset") < offset)
