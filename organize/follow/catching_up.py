"""Organizes all samples that are not organized yet, and then, if asked, the uploads that follow."""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery
from threadpoolctl import threadpool_limits

from conf.errors import HubError
from conf.settings import Settings
from lake import tables
from lake.errors import JobFailed
from lake.job_failures import root_cause
from lake.locks import organize_lock
from lake.spark.session_properties import NO_CODEGEN, PLAIN_CACHE, temporary_properties
from lake.table import Table
from organize.follow import pictures
from organize.follow.counts import Counts
from organize.follow.ledger_query import LedgerQuery
from organize.follow.organizer import Organizer
from organize.follow.revisions import revise
from streaming.errors import DamagedCheckpoint
from streaming.follow.follower_supervisor import FollowerSupervisor
from streaming.ledger.resume_offsets import checkpoint_of

Report = Callable[[str], None]
_PROPERTIES = NO_CODEGEN | PLAIN_CACHE  # as of an ingestion: small queries, and rows that are pictures
_POLL_SECONDS = 0.2
_LATE_SECONDS = 10.0  # between searches for samples that came late


def catch_up(
    spark: SparkSession,
    settings: Settings,
    wait: bool = False,
    report: Report = lambda line: None,
    command: str = "organize",
) -> Counts:
    """Embed, group, cluster and score all samples for which that was not done yet.

    Args:
        wait: for uploads in the ledger that have no sample yet, up to `organize.sample_seconds`.
        report: called with a line after each chunk of images.
        command: shown to other processes that wait.

    Raises:
        UnusableEmbedder, UnusableModel, UnusableWeights: the embedder does not exist or does not fit.
        InUse: another process organizes, or an erasure is running, for longer than `organize.lock_seconds`.
        JobFailed: a Spark job failed.
    """
    began = time.monotonic()
    organizer = Organizer.create(settings, report, command)
    with temporary_properties(spark, _PROPERTIES), _one_blas_thread():
        _create_tables(spark, settings)
        _catch_up(spark, organizer, wait, threading.Event())
        revise(spark, organizer)
    organizer.counts.seconds = time.monotonic() - began
    return organizer.counts


def follow(
    spark: SparkSession, settings: Settings, stopped: threading.Event, counts: Counts, report: Report
) -> None:
    """Catch up, then organize uploads as they arrive, until `stopped` is set.

    A query that fails is restarted, with growing pauses; the ledger and the ingestion do not wait for it.

    Args:
        counts: grow as images are organized.
        report: called with a line after each chunk of images, and when the query fails.

    Raises:
        InUse: another process follows the lake.
        UnusableEmbedder, UnusableModel, UnusableWeights: the embedder does not exist or does not fit.
    """
    began = time.monotonic()
    with organize_lock.following(settings), temporary_properties(spark, _PROPERTIES), _one_blas_thread():
        organizer = Organizer.create(settings, report, "organize --follow", counts)
        _create_tables(spark, settings)
        query = LedgerQuery(organizer, f"organize-{organizer.model_id}", stopped=stopped)
        while not stopped.is_set():
            try:
                _run(spark, query, report)
            except DamagedCheckpoint as error:
                report(f"{error}; it is deleted: samples without an embedding are found again")
                checkpoint_of(settings, query.name).delete_all()
            finally:
                counts.seconds = time.monotonic() - began


def _run(spark: SparkSession, query: LedgerQuery, report: Report) -> None:
    """Follow the ledger until the command is stopped."""
    organizer, stopped = query.organizer, query.stopped

    def start() -> StreamingQuery:
        # In this order: what comes after this version is in the stream, what was there is caught up with.
        version = tables.version(spark, organizer.settings.lake, Table.UPLOADS)
        _catch_up(spark, organizer, True, stopped)
        if organizer.counts.waiting:
            report(f"{organizer.counts.waiting:,} images have no sample yet: is `hub ingest` running?")
            query.late.set()
        report(f"following the ledger from version {version:,} with {organizer.model_id}")
        return query.start(spark, version, once=False)

    def on_failure(name: str, why: str | None) -> None:
        report(f"{name} failed: {why}; it is started again" if why else f"{name} is running again")

    supervisor = FollowerSupervisor({query.name: start}, on_failure)
    searched, revised_at = time.monotonic(), -1
    try:
        supervisor.start()
        while not stopped.wait(_POLL_SECONDS):
            supervisor.restart_failed()
            if organizer.counts.chunks != revised_at:
                revised_at = organizer.counts.chunks
                _revise(spark, organizer)
            if query.late.is_set() and time.monotonic() - searched > _LATE_SECONDS:
                query.late.clear()
                _organize_missing(spark, organizer, stopped)
                searched = time.monotonic()
    except KeyboardInterrupt:
        stopped.set()  # a running micro-batch ends after its chunk
        raise
    finally:
        supervisor.stop()


def _revise(spark: SparkSession, organizer: Organizer) -> None:
    """Revise what is due, beside the micro-batches; what fails is tried again after the next of them."""
    try:
        revise(spark, organizer)
    except HubError as error:
        organizer.report(str(error))


def _one_blas_thread() -> AbstractContextManager[object]:
    """BLAS on one thread: several spin while they wait for each other, beside an ingestion long.

    For all of a run: what limits it in stages and revisions, which run side by side, sets back what it found.
    """
    return threadpool_limits(1, "blas")


def _create_tables(spark: SparkSession, settings: Settings) -> None:
    if not all(tables.exists(spark, settings.lake, table) for table in Table):
        tables.create(spark, settings.lake)


def _catch_up(spark: SparkSession, organizer: Organizer, wait: bool, stopped: threading.Event) -> None:
    settings = organizer.settings
    organizer.finish(spark)
    deadline = time.monotonic() + settings.organize.sample_seconds
    organizer.counts.waiting = pictures.without_sample(spark, settings)
    while wait and organizer.counts.waiting and time.monotonic() < deadline:
        if stopped.wait(_POLL_SECONDS):
            return
        organizer.counts.waiting = pictures.without_sample(spark, settings)
    missing = pictures.not_embedded(spark, settings, organizer.model_id)
    if missing.limit(settings.organize.chunk_images + 1).count() > settings.organize.chunk_images:
        _read_ledger(spark, organizer, stopped)
    _organize_missing(spark, organizer, stopped)


def _organize_missing(spark: SparkSession, organizer: Organizer, stopped: threading.Event) -> None:
    """Organize the samples that have no embedding, with their pictures from anywhere in the ledger."""
    rows = organizer.settings.organize.chunk_images
    while not stopped.is_set():
        before = organizer.counts.embedded
        missing = pictures.not_embedded(spark, organizer.settings, organizer.model_id).limit(rows).toArrow()
        organizer.organize(spark, missing, stopped=stopped)
        if len(missing) < rows or organizer.counts.embedded == before:
            return


def _read_ledger(spark: SparkSession, organizer: Organizer, stopped: threading.Event) -> None:
    """Organize a lake with many new samples, by one pass over the ledger; an interrupted one is resumed."""
    settings = organizer.settings
    query = LedgerQuery(organizer, f"organize-all-{organizer.model_id}", stopped=stopped)
    running = query.start(spark, None, once=True)
    try:
        while running.isActive and not stopped.wait(_POLL_SECONDS):
            pass
    except KeyboardInterrupt:
        stopped.set()  # a running micro-batch ends after its chunk
        raise
    finally:
        running.stop()
    error = running.exception()
    if error is not None:
        raise JobFailed(f"cannot organize the ledger: {root_cause(error)}")
    if not stopped.is_set():
        checkpoint_of(settings, query.name).delete_all()  # the next pass begins at the beginning again
