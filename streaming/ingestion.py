"""The streaming queries: Kafka to the ledger, and the followers from the ledger to everything else."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from conf.sections import Ingest
from conf.settings import Settings
from lake import tables
from lake.label_hierarchy import Hierarchy
from lake.schemas import Table
from lake.spark.session_properties import NO_CODEGEN, PLAIN_CACHE, arrow, properties
from streaming import kafka_source
from streaming.contract.rules import Rules
from streaming.errors import IngestFailed
from streaming.follow import dead_letters, ledger_stream, samples
from streaming.follow.dead_letters import DeadLetterFollower
from streaming.follow.derived import SamplesFollower
from streaming.follow.followers import Followers
from streaming.follow.image_index import ImageIndex
from streaming.follow.label_counts import LabelCounts
from streaming.follow.query_failures import cause
from streaming.follow.samples import Samples
from streaming.ledger import lake_lease, ledger, resume_offsets
from streaming.ledger.commit_gate import CommitGate
from streaming.ledger.ledger import BatchCounts, Ledger
from streaming.ledger.local_index import file_of
from streaming.ledger.resume_offsets import ResumeOffsets
from streaming.ledger.upload_index import UploadIndex
from streaming.watch.ingest_report import IngestReport
from streaming.watch.monitor import IngestMonitor, monitored

__all__ = ["IngestReport", "Ingestion"]

_Write = Callable[[DataFrame, int], None]
_LOOK_SECONDS = 0.5
_ONCE_SECONDS = 0.05
_COMMIT_SECONDS = 20  # for a commit that is on its way when the ingestion is stopped


@dataclass
class _Loss:
    """Whether and why the lake is no longer ours."""

    why: str = ""
    told: threading.Event = field(default_factory=threading.Event)

    def tell(self, why: str) -> None:
        self.why = why
        self.told.set()

    def refuse(self) -> None:
        if self.told.is_set():
            raise IngestFailed(f"stopped: {self.why}; see who ingests there before you start again")


@dataclass(frozen=True)
class _Prepared:
    """What the queries of an ingestion need."""

    uploads: UploadIndex
    images: ImageIndex
    start: ResumeOffsets
    loss: _Loss
    gate: CommitGate = field(default_factory=CommitGate)

    def stop(self, query: StreamingQuery) -> None:
        """End the ledger's query; a commit that is on its way is counted first, unless the lake is lost."""
        try:
            self.gate.close(0 if self.loss.told.is_set() else _COMMIT_SECONDS)
        finally:
            query.stop()


@dataclass(frozen=True)
class Ingestion:
    """Takes uploads from Kafka into the tables.

    Args:
        spark: session to run on.
        settings: of the hub.
        bootstrap: of the Kafka cluster.
        on_batch: called after each commit to the ledger.
        accept_loss: go on where retention removed records before they were taken.
    """

    spark: SparkSession
    settings: Settings
    bootstrap: str
    on_batch: Callable[[BatchCounts], None] = lambda counts: None
    accept_loss: bool = False

    def once(self, report: IngestReport) -> None:
        """Take what is in Kafka now, bring all tables and dead letters up to it, and return.

        Args:
            report: counts are added to it as batches are committed.

        Raises:
            LakeInUse: another process ingests into the lake.
            DamagedCheckpoint: a query's checkpoint cannot be used; nothing was taken.
            RecordsLost: the topic no longer holds what comes next; nothing was taken.
            IngestFailed: a query stopped with an error; what was committed before it stays.
        """
        begun = time.monotonic()
        with self._prepared(report) as parts, self._watch(report) as watch:
            watch.lag.moved(parts.start.positions)
            prepared = time.monotonic()
            try:
                self._ledger_once(parts, watch)
            finally:
                report.ledger_seconds = time.monotonic() - prepared
            self._follow_once(parts, watch)
        report.seconds = time.monotonic() - begun

    def forever(self, report: IngestReport) -> None:
        """Take uploads as they come, until a query fails or the caller is interrupted.

        Raises:
            as `once`.
        """
        with self._prepared(report) as parts, self._watch(report) as watch:
            watch.lag.moved(parts.start.positions)
            begun = time.monotonic()
            followers = Followers(self._follower_queries(parts.images, once=False), watch.held_up)
            query = self._ledger_query(parts, watch, once=False)
            try:
                followers.start()
                # Waiting here and not in the JVM, Ctrl-C finds Python at a place where it can be heeded.
                while query.isActive and not parts.loss.told.wait(_LOOK_SECONDS):
                    followers.tend()
                self._raise_failure(query, parts)
            finally:
                report.seconds = report.ledger_seconds = time.monotonic() - begun
                parts.stop(query)
                followers.stop()

    def catch_up(self) -> None:
        """Bring samples, labels and dead letters up to the ledger; the caller holds the lake.

        Raises:
            DamagedCheckpoint: a follower's checkpoint cannot be used.
            IngestFailed: a follower stopped with an error.
        """
        ledger_stream.prepare(self.spark, self.settings)
        with self._images() as images:
            followers = Followers(self._follower_queries(images, once=True), lambda name, why: None)
            try:
                followers.start()
                _refuse_failed(followers.finish(threading.Event(), _ONCE_SECONDS))
            finally:
                followers.stop()

    @contextmanager
    def _prepared(self, report: IngestReport) -> Iterator[_Prepared]:
        loss = _Loss()
        ingest = self.settings.ingest
        with lake_lease.held(self.settings, "ingest", loss.tell), properties(self.spark, tuned(ingest)):
            tables.create(self.spark, self.settings.lake)
            name = tables.identifier(self.spark, self.settings.lake, Table.UPLOADS)
            with UploadIndex(file_of(ingest.index_dir, name)) as uploads:
                ledger.index_of(self.spark, self.settings.lake, uploads)
                start = resume_offsets.find(self.settings, self.bootstrap, uploads.taken(), self.accept_loss)
                report.lost = {p: (due, begin - 1) for p, (due, begin) in start.lost.items()}
                ledger_stream.prepare(self.spark, self.settings)
                with self._images() as images:
                    yield _Prepared(uploads, images, start, loss)

    @contextmanager
    def _images(self) -> Iterator[ImageIndex]:
        name = tables.identifier(self.spark, self.settings.lake, Table.SAMPLES)
        with ImageIndex(file_of(self.settings.ingest.index_dir, name)) as images:
            yield samples.index_of(self.spark, self.settings.lake, images)

    def _watch(self, report: IngestReport) -> AbstractContextManager[IngestMonitor]:
        return monitored(self.spark, self.settings, self.bootstrap, report, self.on_batch)

    def _ledger_once(self, parts: _Prepared, watch: IngestMonitor) -> None:
        query = self._ledger_query(parts, watch, once=True)
        try:
            with tables.ready(self.spark, self.settings.lake, Table.SAMPLES, Table.LABELS):
                while query.isActive and not parts.loss.told.wait(_ONCE_SECONDS):
                    pass
            self._raise_failure(query, parts)
        finally:  # it outlives neither an error nor an interrupt
            parts.stop(query)
            watch.ended({str(query.runId)})

    def _follow_once(self, parts: _Prepared, watch: IngestMonitor) -> None:
        followers = Followers(self._follower_queries(parts.images, once=True), watch.held_up)
        try:
            followers.start()
            failed = followers.finish(parts.loss.told, _ONCE_SECONDS)
            parts.loss.refuse()
            _refuse_failed(failed)
        finally:
            watch.ended(followers.stop())

    def _raise_failure(self, query: StreamingQuery, parts: _Prepared) -> None:
        parts.loss.refuse()
        error = query.exception()
        if error is not None:
            taken = parts.uploads.taken()
            why = resume_offsets.explained(self.settings, self.bootstrap, taken, str(error))
            raise why or IngestFailed(cause(error))

    def _ledger_query(self, parts: _Prepared, watch: IngestMonitor, once: bool) -> StreamingQuery:
        writer = Ledger(
            self.settings.lake, Rules.of(self.settings), parts.uploads, watch.committed, parts.gate
        )
        name = resume_offsets.query_of(self.settings.kafka.topic)
        offsets = parts.start.starting_offsets(self.settings.kafka.topic)
        stream = kafka_source.uploads(self.spark, self.settings, self.bootstrap, offsets)
        return self._start(name, stream, writer.write, once)

    def _follower_queries(self, images: ImageIndex, once: bool) -> dict[str, Callable[[], StreamingQuery]]:
        lake = self.settings.lake
        hierarchy = Hierarchy.read(self.settings.labels.file)
        labels = LabelCounts(lake, self.settings.labels.ready_images, hierarchy)
        letters = DeadLetterFollower(self.settings.kafka, self.bootstrap)
        followers = {
            ledger_stream.SAMPLES: (samples.COLUMNS, SamplesFollower(Samples(lake, images), labels).write),
            ledger_stream.DEAD_LETTERS: (dead_letters.COLUMNS, letters.write),
        }
        return {
            name: partial(self._follow, name, columns, write, once)
            for name, (columns, write) in followers.items()
        }

    def _follow(self, name: str, columns: list[str], write: _Write, once: bool) -> StreamingQuery:
        return self._start(name, ledger_stream.uploads(self.spark, self.settings, columns), write, once)

    def _start(self, name: str, stream: DataFrame, write: _Write, once: bool) -> StreamingQuery:
        writer = (
            stream.writeStream.queryName(name)
            .foreachBatch(write)
            .option("checkpointLocation", resume_offsets.checkpoint_of(self.settings, name).root)
        )
        if once:
            return writer.trigger(availableNow=True).start()
        return writer.trigger(processingTime=f"{self.settings.ingest.trigger_seconds} seconds").start()


def tuned(ingest: Ingest) -> dict[str, str]:
    """What of a session's properties differs for the time of an ingestion."""
    return NO_CODEGEN | PLAIN_CACHE | arrow(ingest.arrow_records, ingest.arrow_bytes)


def _refuse_failed(followers: Mapping[str, str]) -> None:
    if followers:
        failed = "; ".join(f"{name}: {why}" for name, why in followers.items())
        raise IngestFailed(f"the ledger is complete, but {failed}; the next ingestion goes on with it")
