"""The ledger: one micro-batch of Kafka records becomes one commit to `uploads`."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from operator import or_
from typing import NamedTuple

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.storagelevel import StorageLevel

from conf.sections import Lake
from lake import tables
from lake.schemas import UPLOADS, Table
from streaming.identity import Position, UploadIndex
from streaming.rows import ROWS, inspected
from streaming.rules import Rules
from streaming.verdict import Reason, Verdict

_PLACE = ["topic", "partition", "offset"]
_PICTURE = ["jpeg", "thumbnail"]


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
    """

    lake: Lake
    rules: Rules
    index: UploadIndex
    on_batch: Callable[[BatchCounts], None]

    def write(self, records: DataFrame, batch: int) -> None:
        """Verify, prepare and commit one micro-batch; safe to call again with the same one.

        Pixels are worked on once and never shuffled; what the pass gives is kept until the commit, because
        which uploads repeat an id is known only when all ids are.
        """
        rows = records.mapInArrow(inspected(self.rules), ROWS).persist(StorageLevel.MEMORY_AND_DISK)
        try:
            with tables.ready(rows.sparkSession, self.lake, Table.UPLOADS):
                judged = _judged(rows)
            claims = [(each.upload_id, each.place) for each in judged if each.verdict == Verdict.ACCEPTED]
            repeats = self.index.duplicates(claims)
            complete = with_duplicates(rows, records, repeats) if repeats else rows
            self._append(complete, batch)
        finally:
            rows.unpersist()
        places = (each.place for each in judged)
        version = tables.version(rows.sparkSession, self.lake, Table.UPLOADS)
        self.index.add(version, _taken(places), [claim for claim in claims if claim[1] not in repeats])
        reasons = Counter(each.reason for each in judged if each.reason is not None)
        if repeats:
            reasons[Reason.DUPLICATE_UPLOAD.value] = len(repeats)
        self.on_batch(BatchCounts(len(judged), len(claims) - len(repeats), dict(reasons)))

    def _append(self, rows: DataFrame, batch: int) -> None:
        stamped = (
            rows.withColumn("ingest_time", f.lit(datetime.now(UTC)))
            .withColumn("ingest_batch", f.lit(batch).cast("long"))
            .select(*UPLOADS.names)
        )
        query = f"ingest-{query_id(rows.sparkSession)}"
        tables.write_once(stamped, self.lake, Table.UPLOADS, query, batch)


class _Judged(NamedTuple):
    place: Position
    upload_id: str
    verdict: str
    reason: str | None


def _judged(rows: DataFrame) -> list[_Judged]:
    """What the driver needs of the rows; as Arrow, since thousands of rows take Python long to unpickle."""
    found = rows.select(*_PLACE, "upload_id", "verdict", "reason").toArrow().to_pydict()
    places = map(Position, *(found[name] for name in _PLACE))
    return list(map(_Judged, places, found["upload_id"], found["verdict"], found["reason"]))


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

    Positions tell what is new, not batches: those count from 0 again with every new checkpoint.
    """
    version = tables.version(spark, lake, Table.UPLOADS)
    if index.version() == version:
        return index
    known = index.taken()
    newer = ~reduce(or_, (_before(*place, offset) for place, offset in known.items()), f.lit(False))
    rows = tables.read(spark, lake, Table.UPLOADS, version).where(newer)
    newest = rows.groupBy("topic", "partition").agg(f.max("offset").alias("offset")).collect()
    # Of an erased upload's id a hash is left, which the index knows to be one.
    known_ids = f.col("verdict").isin(Verdict.ACCEPTED.value, Verdict.ERASED.value)
    accepted = rows.where(known_ids & f.col("upload_id").isNotNull()).select("upload_id", *_PLACE)
    claims = (
        (row.upload_id, Position(row.topic, row.partition, row.offset)) for row in accepted.toLocalIterator()
    )
    index.add(version, _taken(Position(row.topic, row.partition, row.offset) for row in newest), claims)
    return index


def _before(topic: str, partition: int, offset: int) -> Column:
    return (f.col("topic") == topic) & (f.col("partition") == partition) & (f.col("offset") < offset)


def _taken(places: Iterable[Position]) -> dict[tuple[str, int], int]:
    """Topic and partition to the offset after the last of the places."""
    taken: dict[tuple[str, int], int] = {}
    for topic, partition, offset in places:
        taken[topic, partition] = max(taken.get((topic, partition), 0), offset + 1)
    return taken
