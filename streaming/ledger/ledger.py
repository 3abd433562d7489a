"""The ledger: one micro-batch of Kafka records becomes one commit to `uploads`."""

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
from lake import tables
from lake.erasure.erased_ids import digest
from lake.schemas import UPLOADS, Table
from lake.spark.session_properties import CODEGEN, properties
from streaming.contract.rules import Rules
from streaming.contract.verdict import Reason, Verdict
from streaming.isolate.arrow_batches import ROWS, inspected
from streaming.isolate.recompute_guard import recompute_refused, was_recomputed
from streaming.ledger.commit_gate import CommitGate
from streaming.ledger.upload_index import AcceptedUploads, Position, UploadIndex

_PLACE = ["topic", "partition", "offset"]
_PICTURE = ["jpeg", "thumbnail"]
_TRIES = 4
MANY = 40_000  # rows; with so many, generated code takes less time to append them than it takes to make


@dataclass(frozen=True)
class BatchCounts:
    """What one micro-batch held: records, accepted, and rejected by reason."""

    records: int
    accepted: int
    rejected: dict[str, int]


@dataclass(frozen=True)
class Ledger:
    """Writes micro-batches to `uploads`, each exactly once.

    Args:
        lake: whose ledger it is.
        rules: that uploads are held to.
        index: of the upload ids accepted so far.
        on_batch: called with the counts of each batch after its commit.
        gate: that commits pass; nothing is committed once it is closed.
    """

    lake: Lake
    rules: Rules
    index: UploadIndex
    on_batch: Callable[[BatchCounts], None]
    gate: CommitGate = field(default_factory=CommitGate)
    _begun: Event = field(default_factory=Event, init=False)

    def write(self, records: DataFrame, batch: int) -> None:
        """Verify, prepare and commit one micro-batch; safe to call again with the same one.

        Pixels are worked on once and never shuffled; what the pass gives is kept until the commit, because
        which uploads repeat an id is known only when all ids are. Where it is lost with an executor, all is
        worked on once more.
        """
        spark = records.sparkSession
        tries = 0 if self._is_committed(spark, batch) else _TRIES
        for left in reversed(range(tries)):
            rows = records.mapInArrow(inspected(self.rules), ROWS).persist(StorageLevel.MEMORY_AND_DISK)
            try:
                self._write(rows, records, batch)
                break
            except (PySparkException, Py4JJavaError) as error:
                if not left or not was_recomputed(error):
                    raise
            finally:
                rows.unpersist()

    def _is_committed(self, spark: SparkSession, batch: int) -> bool:
        """Whether the ledger has a micro-batch that is here again, as the first after a restart may be.

        Judged once more, by other settings or with a store that is back, it could come out otherwise than the
        ledger says.
        """
        if self._begun.is_set():
            return False
        self._begun.set()
        return tables.last_batch(spark, self.lake, Table.UPLOADS, _query(spark)) >= batch

    def _write(self, rows: DataFrame, records: DataFrame, batch: int) -> None:
        # The pass has the same plan each time: what is generated for it is compiled once.
        spark = rows.sparkSession
        with tables.ready(spark, self.lake, Table.UPLOADS), properties(spark, CODEGEN):
            judged = _judged(rows)
        claims = _claims(judged)
        repeats = self.index.duplicates(claims)
        complete = with_duplicates(rows, records, repeats) if repeats else rows
        with self.gate.passage():
            with recompute_refused(spark):
                self._append(complete, batch, len(judged))
            self._committed(spark, judged, claims, repeats)

    def _committed(
        self,
        spark: SparkSession,
        judged: pa.Table,
        claims: AcceptedUploads,
        repeats: dict[Position, Position],
    ) -> None:
        """Tell of a micro-batch that is in the ledger, and let the index know its uploads."""
        version = tables.version(spark, self.lake, Table.UPLOADS)
        self.index.add_beside(version, _taken(judged), claims.without(repeats) if repeats else claims)
        reasons = Counter(judged["reason"].drop_null().to_pylist())
        if repeats:
            reasons[Reason.DUPLICATE_UPLOAD.value] = len(repeats)
        self.on_batch(BatchCounts(len(judged), len(claims) - len(repeats), dict(reasons)))

    def _append(self, rows: DataFrame, batch: int, records: int) -> None:
        stamped = (
            rows.withColumn("ingest_time", f.lit(datetime.now(UTC)))
            .withColumn("ingest_batch", f.lit(batch).cast("long"))
            .select(*UPLOADS.names)
        )
        spark = rows.sparkSession
        with properties(spark, CODEGEN) if records > MANY else nullcontext():
            tables.write_once(stamped, self.lake, Table.UPLOADS, _query(spark), batch)


def _judged(rows: DataFrame) -> pa.Table:
    """What the driver needs of the rows, in columns: while it works on them the executors wait."""
    return rows.select(*_PLACE, "upload_id", "verdict", "reason").toArrow()


def _claims(judged: pa.Table) -> AcceptedUploads:
    accepted = judged.filter(pc.equal(judged["verdict"], Verdict.ACCEPTED.value))
    keys = list(map(digest, accepted["upload_id"].to_pylist()))
    return AcceptedUploads(keys, *(accepted[name].to_pylist() for name in _PLACE))


def _taken(judged: pa.Table) -> dict[tuple[str, int], int]:
    """Topic and partition to the offset after the last of the rows."""
    last = judged.group_by(["topic", "partition"]).aggregate([("offset", "max")]).to_pylist()
    return {(row["topic"], row["partition"]): row["offset_max"] + 1 for row in last}


def _query(spark: SparkSession) -> str:
    return f"ingest-{query_id(spark)}"


def query_id(spark: SparkSession) -> str:
    """Id of the streaming query that is calling; it lives as long as the query's checkpoint."""
    return str(spark.sparkContext.getLocalProperty("sql.streaming.queryId"))


def with_duplicates(rows: DataFrame, records: DataFrame, repeats: dict[Position, Position]) -> DataFrame:
    """Turn accepted rows that repeat an upload into rejected ones with their original bytes.

    The originals are read from Kafka a second time, only in batches that hold a duplicate, so that the
    pictures of all others need not be carried along.
    """
    spark = rows.sparkSession
    marks = spark.createDataFrame(
        [
            (at.topic, at.partition, at.offset, f"first at {first.topic}/{first.partition}/{first.offset}")
            for at, first in repeats.items()
        ],
        "topic string, partition int, offset long, mark string",
    )
    repeated = (
        rows.drop("payload", "headers", *_PICTURE)
        .join(f.broadcast(marks), _PLACE)
        .withColumn("verdict", f.lit(Verdict.REJECTED.value))
        .withColumn("reason", f.lit(Reason.DUPLICATE_UPLOAD.value))
        .withColumn("detail", f.col("mark"))
        .drop("mark")
    )
    originals = records.select(*_PLACE, f.col("value").alias("payload"), "headers")
    rejected = originals.join(f.broadcast(repeated), _PLACE)
    kept = rows.join(f.broadcast(marks.drop("mark")), _PLACE, "left_anti")
    return kept.unionByName(rejected, allowMissingColumns=True)


def index_of(spark: SparkSession, lake: Lake, index: UploadIndex) -> UploadIndex:
    """Bring an index up to date with the ledger: after a crash, or all of it on a new machine.

    Positions tell what is new, not batches: those count from 0 again with every new checkpoint. An index that
    is ahead of the ledger, because a backup or an old version of it was restored, is made anew.
    """
    version = tables.version(spark, lake, Table.UPLOADS)
    if index.version() == version:
        return index
    if not _holds(spark, lake, version, index.taken()):
        index.clear()
    known = index.taken()
    newer = ~reduce(or_, (_before(*place, offset) for place, offset in known.items()), f.lit(False))
    rows = tables.read(spark, lake, Table.UPLOADS, version).where(newer)
    newest = rows.groupBy("topic", "partition").agg(f.max("offset").alias("offset")).toArrow()
    # Of an erased upload's id a hash is left, which the index knows to be one.
    known_ids = f.col("verdict").isin(Verdict.ACCEPTED.value, Verdict.ERASED.value)
    accepted = rows.where(known_ids & f.col("upload_id").isNotNull()).select("upload_id", *_PLACE)
    claims = (
        (digest(row.upload_id), row.topic, row.partition, row.offset) for row in accepted.toLocalIterator()
    )
    index.add(version, _taken(newest), claims)
    return index


def _holds(spark: SparkSession, lake: Lake, version: int, taken: Mapping[tuple[str, int], int]) -> bool:
    """Whether the ledger has the last record of each partition that an index knows."""
    last = reduce(or_, (_at(*place, offset - 1) for place, offset in taken.items()), f.lit(False))
    return tables.read(spark, lake, Table.UPLOADS, version).where(last).count() == len(taken)


def _at(topic: str, partition: int, offset: int) -> Column:
    return (f.col("topic") == topic) & (f.col("partition") == partition) & (f.col("offset") == offset)


def _before(topic: str, partition: int, offset: int) -> Column:
    return (f.col("topic") == topic) & (f.col("partition") == partition) & (f.col("offset") < offset)
