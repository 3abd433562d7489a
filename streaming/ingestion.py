"""Runs an ingestion: the streaming query from Kafka to the ledger, and the followers of the ledger."""

import math
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
from lake import tables, transactions
from lake.job_failures import root_cause
from lake.spark.session_properties import NO_CODEGEN, PLAIN_CACHE, arrow_batch_limits, temporary_properties
from lake.table import Table
from streaming import kafka_source
from streaming.contract.rules import Rules
from streaming.errors import IngestFailed
from streaming.follow import ledger_stream, samples
from streaming.follow.follower import Follower, FollowerContext, Write
from streaming.follow.follower_supervisor import FollowerSupervisor
from streaming.follow.followers import FOLLOWERS
from streaming.follow.image_index import ImageIndex
from streaming.ledger import lake_lease, ledger, resume_offsets
from streaming.ledger.commit_gate import CommitGate
from streaming.ledger.ledger import BatchCounts, Ledger
from streaming.ledger.local_index import index_file
from streaming.ledger.resume_offsets import ResumeOffsets
from streaming.ledger.upload_index import UploadIndex
from streaming.watch.ingest_report import IngestReport
from streaming.watch.monitor import IngestMonitor, monitored

__all__ = ["IngestReport", "Ingestion"]

_POLL_SECONDS = 0.5  # of a continuous ingestion
_ONCE_POLL_SECONDS = 0.05  # of one that ends by itself
_COMMIT_SECONDS = 20  # for a commit that is running when the ingestion is stopped


@dataclass
class _LeaseLoss:
    """Whether and why the lease on the lake was lost."""

    why: str = ""
    event: threading.Event = field(default_factory=threading.Event)

    def set(self, why: str) -> None:
        self.why = why
        self.event.set()

    def raise_if_lost(self) -> None:
        if self.event.is_set():
            raise IngestFailed(f"stopped: {self.why}; find out what uses this lake before you start again")


@dataclass(frozen=True)
class _Resources:
    """Indexes, offsets and locks of a running ingestion."""

    uploads: UploadIndex
    images: ImageIndex
    start: ResumeOffsets
    loss: _LeaseLoss
    gate: CommitGate = field(default_factory=CommitGate)

    def stop(self, query: StreamingQuery) -> None:
        """Stop the ledger's query. A running commit is finished first, unless the lease was lost."""
        try:
            self.gate.close(0 if self.loss.event.is_set() else _COMMIT_SECONDS)
        finally:
            query.stop()


@dataclass(frozen=True)
class Ingestion:
    """Ingests uploads from Kafka into the tables.

    Args:
        spark: session to run on.
        settings: of the hub.
        bootstrap: of the Kafka cluster.
        on_batch: called after each commit to the ledger.
        accept_loss: continue although retention deleted records before they were ingested.
    """

    spark: SparkSession
    settings: Settings
    bootstrap: str
    on_batch: Callable[[BatchCounts], None] = lambda counts: None
    accept_loss: bool = False

    def once(self, report: IngestReport) -> None:
        """Ingest the records that are in Kafka now, run all followers up to them, and return.

        Args:
            report: counts are added to it as micro-batches are committed.

        Raises:
            LakeInUse: another process ingests into the lake.
            DamagedCheckpoint: a query's checkpoint cannot be used; nothing was ingested.
            RecordsLost: the topic no longer has the next records; nothing was ingested.
            IngestFailed: a query stopped with an error; earlier commits stay.
        """
        begun = time.monotonic()
        with self._prepare(report) as resources, self._monitor(report) as monitor:
            monitor.lag.set_positions(resources.start.positions)
            prepared = time.monotonic()
            try:
                self._run_ledger_once(resources, monitor)
            finally:
                report.ledger_seconds = time.monotonic() - prepared
            self._run_followers_once(resources, monitor)
        report.seconds = time.monotonic() - begun

    def forever(self, report: IngestReport, until: Callable[[], bool] = lambda: False) -> None:
        """Ingest records as they arrive, until a query fails (raises as `once`) or the user interrupts.

        Args:
            report: as of `once`.
            until: asked twice a second; if it says True, the ingestion ends after the commit that is running.
        """
        with self._prepare(report) as resources, self._monitor(report) as monitor:
            monitor.lag.set_positions(resources.start.positions)
            begun = time.monotonic()
            followers = self._supervisor(resources.images, False, monitor.record_follower)
            query = self._start_ledger(resources, monitor, once=False)
            try:
                followers.start()
                # Waits in Python, because Ctrl-C does not interrupt a call that waits in the JVM.
                while query.isActive and not resources.loss.event.wait(_POLL_SECONDS) and not until():
                    followers.restart_failed()
                self._raise_failure(query, resources)
            finally:
                report.seconds = report.ledger_seconds = time.monotonic() - begun
                resources.stop(query)
                followers.stop()

    def catch_up(self) -> None:
        """Run all followers up to the ledger's newest version; the caller must hold the lease on the lake.

        Raises:
            DamagedCheckpoint: a follower's checkpoint cannot be used.
            IngestFailed: a follower stopped with an error.
        """
        tables.create(self.spark, self.settings.lake)  # followers read columns that an old lake may lack
        ledger_stream.prepare(self.spark, self.settings)
        with self._images() as images:
            followers = self._supervisor(images, True, lambda name, why: None)
            try:
                followers.start()
                _raise_if_failed(followers.finish(threading.Event(), _ONCE_POLL_SECONDS))
            finally:
                followers.stop()

    @contextmanager
    def _prepare(self, report: IngestReport) -> Iterator[_Resources]:
        loss = _LeaseLoss()
        overrides = session_overrides(self.settings.ingest)
        with lake_lease.held(self.settings, "ingest", loss.set), temporary_properties(self.spark, overrides):
            tables.create(self.spark, self.settings.lake)
            table_id = tables.table_id(self.spark, self.settings.lake, Table.UPLOADS)
            with UploadIndex(index_file(self.settings.ingest.index_dir, table_id)) as uploads:
                ledger.update_index(self.spark, self.settings.lake, uploads)
                offsets = uploads.next_offsets()
                start = resume_offsets.find(self.settings, self.bootstrap, offsets, self.accept_loss)
                report.lost = {p: (due, begin - 1) for p, (due, begin) in start.lost.items()}
                ledger_stream.prepare(self.spark, self.settings)
                with self._images() as images:
                    yield _Resources(uploads, images, start, loss)

    @contextmanager
    def _images(self) -> Iterator[ImageIndex]:
        table_id = tables.table_id(self.spark, self.settings.lake, Table.SAMPLES)
        with ImageIndex(index_file(self.settings.ingest.index_dir, table_id)) as images:
            yield samples.update_index(self.spark, self.settings.lake, images)

    def _monitor(self, report: IngestReport) -> AbstractContextManager[IngestMonitor]:
        return monitored(self.spark, self.settings, self.bootstrap, report, self.on_batch)

    def _run_ledger_once(self, resources: _Resources, monitor: IngestMonitor) -> None:
        query = self._start_ledger(resources, monitor, once=True)
        try:
            with transactions.prefetch(self.spark, self.settings.lake, Table.SAMPLES, Table.LABELS):
                while query.isActive and not resources.loss.event.wait(_ONCE_POLL_SECONDS):
                    pass
            self._raise_failure(query, resources)
        finally:  # also after an error or an interrupt
            resources.stop(query)
            monitor.wait_for_end({str(query.runId)})

    def _run_followers_once(self, resources: _Resources, monitor: IngestMonitor) -> None:
        followers = self._supervisor(resources.images, True, monitor.record_follower)
        try:
            followers.start()
            failed = followers.finish(resources.loss.event, _ONCE_POLL_SECONDS)
            resources.loss.raise_if_lost()
            _raise_if_failed(failed)
        finally:
            monitor.wait_for_end(followers.stop())

    def _raise_failure(self, query: StreamingQuery, resources: _Resources) -> None:
        resources.loss.raise_if_lost()
        error = query.exception()
        if error is not None:
            offsets = resources.uploads.next_offsets()
            followers = [each.query for each in FOLLOWERS]
            why = resume_offsets.diagnose(self.settings, self.bootstrap, offsets, str(error), followers)
            raise why or IngestFailed(root_cause(error))

    def _start_ledger(self, resources: _Resources, monitor: IngestMonitor, once: bool) -> StreamingQuery:
        lake, rules = self.settings.lake, Rules.of(self.settings)
        writer = Ledger(lake, rules, resources.uploads, monitor.record_commit, resources.gate)
        name = resume_offsets.query_name(self.settings.kafka.topic)
        offsets = resources.start.starting_offsets(self.settings.kafka.topic)
        stream = kafka_source.uploads(self.spark, self.settings, self.bootstrap, offsets)
        return self._start_query(name, stream, writer.write, once, self.settings.ingest.trigger_seconds)

    def _supervisor(
        self, images: ImageIndex, once: bool, on_failure: Callable[[str, str | None], None]
    ) -> FollowerSupervisor:
        context = FollowerContext(self.settings, self.bootstrap, images)
        starters = {
            each.query: partial(self._start_follower, each, each.writer(context), once) for each in FOLLOWERS
        }
        return FollowerSupervisor(starters, on_failure)

    def _start_follower(self, follower: Follower, write: Write, once: bool) -> StreamingQuery:
        stream = ledger_stream.uploads(self.spark, self.settings, follower)
        seconds = min(self.settings.ingest.trigger_seconds, follower.trigger_seconds or math.inf)
        return self._start_query(follower.query, stream, write, once, seconds)

    def _start_query(
        self, name: str, stream: DataFrame, write: Write, once: bool, seconds: float
    ) -> StreamingQuery:
        writer = (
            stream.writeStream.queryName(name)
            .foreachBatch(write)
            .option("checkpointLocation", resume_offsets.checkpoint_of(self.settings, name).root)
        )
        if once:
            return writer.trigger(availableNow=True).start()
        return writer.trigger(processingTime=f"{seconds} seconds").start()


def session_overrides(ingest: Ingest) -> dict[str, str]:
    """Spark properties that are set while an ingestion runs."""
    return NO_CODEGEN | PLAIN_CACHE | arrow_batch_limits(ingest.arrow_records, ingest.arrow_bytes)


def _raise_if_failed(followers: Mapping[str, str]) -> None:
    if followers:
        failed = "; ".join(f"{name}: {why}" for name, why in followers.items())
        raise IngestFailed(f"the ledger is complete, but {failed}; the next ingestion retries it")
