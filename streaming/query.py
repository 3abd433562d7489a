"""The streaming queries: Kafka to the ledger, and the followers from the ledger to everything else."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.streaming.query import StreamingQuery

from conf.settings import Kafka, Settings
from lake import tables
from lake.labels import Hierarchy
from lake.schemas import Table
from streaming import deadletters, labels, ledger, samples, topics
from streaming.deadletters import DeadLetterFollower
from streaming.errors import IngestFailed
from streaming.identity import UploadIndex
from streaming.images import ImageIndex
from streaming.labels import LabelsFollower
from streaming.ledger import BatchCounts, Ledger
from streaming.rules import Rules
from streaming.samples import SamplesFollower

_EARLIEST = -2
_LOOK_SECONDS = 0.5
_ERROR_LINE = re.compile(r"^(?:Caused by: )?([\w.$]*(?:Error|Exception))(?:: (.*))?$", re.MULTILINE)
_WRAPPERS = ("py4j", "org.apache.spark.SparkException", "org.apache.spark.api.python")
# Each commit of the ledger adds a few files; a follower that was away takes so many at once.
_FOLLOWED_FILES = 64


@dataclass
class IngestReport:
    """What an ingestion did so far.

    Args:
        records: Kafka records judged.
        accepted: of them.
        rejected: reason to count.
        batches: micro-batches committed to the ledger.
        ledger_seconds: from the start of the first to the commit of the last.
        seconds: the whole, followers included.
    """

    records: int = 0
    accepted: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    batches: int = 0
    ledger_seconds: float = 0.0
    seconds: float = 0.0

    def add(self, counts: BatchCounts) -> None:
        """Count one more micro-batch."""
        self.records += counts.records
        self.accepted += counts.accepted
        self.batches += 1
        for reason, count in counts.rejected.items():
            self.rejected[reason] = self.rejected.get(reason, 0) + count

    @property
    def images_per_second(self) -> float:
        """Records from Kafka to the committed ledger, each second."""
        return self.records / self.ledger_seconds if self.ledger_seconds else 0.0


@dataclass(frozen=True)
class Ingestion:
    """Takes uploads from Kafka into the tables.

    Args:
        spark: session to run on.
        settings: of the hub.
        bootstrap: of the Kafka cluster.
        on_batch: called after each commit to the ledger.
    """

    spark: SparkSession
    settings: Settings
    bootstrap: str
    on_batch: Callable[[BatchCounts], None] = lambda counts: None

    def once(self, report: IngestReport) -> None:
        """Take what is in Kafka now, bring all tables and dead letters up to it, and return.

        Args:
            report: counts are added to it as batches are committed.

        Raises:
            IngestFailed: a query stopped with an error; what was committed before it stays.
        """
        begun = time.monotonic()
        with self._prepared() as (uploads, images):
            prepared = time.monotonic()
            _await(self._ledger_query(uploads, report, once=True))
            report.ledger_seconds = time.monotonic() - prepared
            for follower in self._follower_queries(images, once=True):
                _await(follower)
        report.seconds = time.monotonic() - begun

    def forever(self, report: IngestReport) -> None:
        """Take uploads as they come, until a query fails or the caller is interrupted.

        Raises:
            IngestFailed: a query stopped with an error.
        """
        with self._prepared() as (uploads, images):
            pause, begun = threading.Event(), time.monotonic()
            followers = self._follower_queries(images, once=False)
            queries = [self._ledger_query(uploads, report, once=False), *followers]
            try:
                # Waiting here and not in the JVM, Ctrl-C finds Python at a place where it can be heeded.
                while all(query.isActive for query in queries):
                    pause.wait(_LOOK_SECONDS)
                for query in queries:
                    _raise_failure(query)
            finally:
                report.seconds = report.ledger_seconds = time.monotonic() - begun
                for query in queries:
                    query.stop()

    @contextmanager
    def _prepared(self) -> Iterator[tuple[UploadIndex, ImageIndex]]:
        lake, ingest = self.settings.lake, self.settings.ingest
        tables.create(self.spark, lake)
        self.spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", str(ingest.arrow_records))
        self.spark.conf.set("spark.sql.execution.arrow.maxBytesPerBatch", str(ingest.arrow_bytes))
        name = tables.identifier(self.spark, lake, Table.UPLOADS)
        with (
            UploadIndex(ingest.index_dir / f"{name}.sqlite") as uploads,
            ImageIndex(ingest.index_dir / f"{name}-images.sqlite") as images,
        ):
            yield (
                ledger.index_of(self.spark, lake, uploads),
                samples.index_of(self.spark, lake, images),
            )

    def _ledger_query(self, index: UploadIndex, report: IngestReport, once: bool) -> StreamingQuery:
        def count(counts: BatchCounts) -> None:
            report.add(counts)
            self.on_batch(counts)

        writer = Ledger(self.settings.lake, Rules.of(self.settings), index, count)
        return self._start(f"ingest-{self.settings.kafka.topic}", self._records(), writer.write, once)

    def _follower_queries(self, images: ImageIndex, once: bool) -> list[StreamingQuery]:
        lake, kafka = self.settings.lake, self.settings.kafka
        hierarchy = Hierarchy.read(self.settings.labels.file)
        counting = LabelsFollower(lake, self.settings.labels.ready_images, hierarchy)
        letters = DeadLetterFollower(kafka, connection(kafka, self.bootstrap))
        return [
            self._start("samples", self._uploads(samples.COLUMNS), SamplesFollower(lake, images).write, once),
            self._start("labels", self._uploads(labels.COLUMNS), counting.write, once),
            self._start("dead-letters", self._uploads(deadletters.COLUMNS), letters.write, once),
        ]

    def _start(
        self,
        name: str,
        stream: DataFrame,
        write: Callable[[DataFrame, int], None],
        once: bool,
    ) -> StreamingQuery:
        writer = (
            stream.writeStream.queryName(name)
            .foreachBatch(write)
            .option("checkpointLocation", self.settings.lake.at("checkpoints", name))
        )
        if once:
            return writer.trigger(availableNow=True).start()
        return writer.trigger(processingTime=f"{self.settings.ingest.trigger_seconds} seconds").start()

    def _records(self) -> DataFrame:
        kafka = self.settings.kafka
        return (
            self.spark.readStream.format("kafka")
            .options(**connection(kafka, self.bootstrap))
            .option("subscribe", kafka.topic)
            .option("includeHeaders", True)
            .option("startingOffsets", self._starting_offsets())
            .option("maxOffsetsPerTrigger", self.settings.ingest.batch_records)
            # Few devices fill few partitions; split, the fullest does not keep one core busy alone.
            .option("minPartitions", 2 * self.spark.sparkContext.defaultParallelism)
            # At the end of the topic a fetch waits for more; the next task's would queue behind it for 0.5 s.
            .option("kafka.fetch.max.wait.ms", 10)
            .option("failOnDataLoss", True)
            .load()
        )

    def _starting_offsets(self) -> str:
        """Where a new checkpoint begins: after what the ledger holds, so that a lost one repeats nothing."""
        topic = self.settings.kafka.topic
        partitions = topics.partitions(self.settings.kafka, self.bootstrap, topic)
        if not partitions:
            raise IngestFailed(f"no topic {topic!r} at {self.bootstrap}: run `hub up`, which makes it")
        uploads = tables.read(self.spark, self.settings.lake, Table.UPLOADS).where(f.col("topic") == topic)
        newest = uploads.groupBy("partition").agg(f.max("offset").alias("newest")).collect()
        known = {row.partition: row.newest + 1 for row in newest}
        return json.dumps({topic: {str(p): known.get(p, _EARLIEST) for p in partitions}})

    def _uploads(self, columns: list[str]) -> DataFrame:
        return (
            self.spark.readStream.format("delta")
            .option("maxFilesPerTrigger", _FOLLOWED_FILES)
            .option("skipChangeCommits", True)  # erasure and maintenance rewrite files; no new uploads
            .load(self.settings.lake.at(Table.UPLOADS))
            .select(*columns)
        )


def connection(kafka: Kafka, bootstrap: str) -> dict[str, str]:
    """Options of Spark's Kafka source and sink for a cluster."""
    options = {"kafka.bootstrap.servers": bootstrap, "kafka.security.protocol": kafka.security_protocol}
    if kafka.security_protocol.startswith("SASL"):
        module = "plain.PlainLoginModule" if kafka.sasl_mechanism == "PLAIN" else "scram.ScramLoginModule"
        options["kafka.sasl.mechanism"] = kafka.sasl_mechanism
        options["kafka.sasl.jaas.config"] = (
            f"org.apache.kafka.common.security.{module} required "
            f'username="{kafka.sasl_username}" password="{kafka.sasl_password}";'
        )
    return options | {"kafka.max.request.size": "12582912"}


def cause(error: PySparkException) -> str:
    """The innermost cause in a streaming query's error, one line: a Java exception's or a Python error's."""
    found = _ERROR_LINE.findall(str(error))
    causes = [(name, text) for name, text in found if not name.startswith(_WRAPPERS)]
    if not causes:
        return tables.first_line(error)
    name, text = causes[-1]
    return f"{name.rpartition('.')[2]}: {text}" if text else name.rpartition(".")[2]


def _await(query: StreamingQuery) -> None:
    try:
        query.awaitTermination()
    except PySparkException as error:
        raise IngestFailed(cause(error)) from None


def _raise_failure(query: StreamingQuery) -> None:
    error = query.exception()
    if error is not None:
        raise IngestFailed(cause(error))
