"""Erasure of a user, in steps that can be interrupted and resumed; see docs/decisions/006-erasure.md."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from conf.sections import Lake
from conf.settings import Settings
from lake import tables
from lake.erasure import purge, redaction
from lake.erasure.redaction import Traces
from lake.erasure.rules import RULES
from lake.errors import LakeError, StorageError
from lake.locks import commit_lease, maintenance_lock, organize_lock
from lake.storage import Storage
from lake.table import Table
from streaming import topics
from streaming.errors import LakeInUse, UnknownUser
from streaming.follow import ledger_stream
from streaming.ingestion import Ingestion
from streaming.ledger import lake_lease, local_index


@dataclass(frozen=True)
class Erasure:
    """The result, or the plan, of an erasure.

    Args:
        traces: the user's data before the erasure.
        resumed: whether an earlier erasure of this user was interrupted.
        remaining_copies: descriptions of where the user's data still is or may be.
    """

    traces: Traces
    resumed: bool
    remaining_copies: list[str]


def plan(spark: SparkSession, settings: Settings, bootstrap: str, user: str) -> Erasure:
    """Find out what `erase` would do; changes nothing.

    Raises:
        UnknownUser: the ledger has no upload of the user.
    """
    traces, pending = _find(spark, settings, user)
    return Erasure(traces, pending, remaining_copies(settings, bootstrap, traces))


def erase(
    spark: SparkSession,
    settings: Settings,
    bootstrap: str,
    user: str,
    on_step: Callable[[str], None] = lambda step: None,
) -> Erasure:
    """Delete a user's rows, pictures and samples from all tables and their old versions.

    Excludes ingestion and `hub organize`, and waits for a chunk of `hub organize --follow`. After an
    interruption it must be run again: a note in `erasures` records that it was started, and all steps are
    idempotent.

    Args:
        on_step: called with a description of the next step.

    Raises:
        UnknownUser: the ledger has no upload of the user; nothing was changed.
        LakeInUse: another process ingests into the lake.
        InUse: another process holds the maintenance lock, or a lease on S3 was lost.
        StorageError: old files cannot be deleted.
    """
    lost: list[str] = []
    with (
        lake_lease.held(settings, "erase", lost.append),
        maintenance_lock.held(settings, "erase") as refuse_if_lost,
        organize_lock.held(settings, "erase") as refuse_if_organizing,
    ):

        def begin_step(description: str) -> None:
            """Check the locks first: without them, a step could delete files of another process's commit."""
            refuse_if_lost()
            refuse_if_organizing()
            if lost:
                raise LakeInUse(f"stopped before the erasure was complete: {lost[0]}; run it again")
            on_step(description)

        traces, resumed = _find(spark, settings, user)
        copies = remaining_copies(settings, bootstrap, traces)
        begin_step("update samples, labels and dead letters from the ledger")
        # The followers read the ledger's old versions, which will be purged.
        Ingestion(spark, settings, bootstrap).catch_up()
        _notes(settings).write_json(_note_name(user), asdict(traces))
        try:
            for table, rule in RULES.items():
                if rule.apply and tables.exists(spark, settings.lake, table):
                    begin_step(rule.step)
                    with commit_lease.held(settings, Table.SAMPLES, table):  # several rules change samples
                        rule.apply(spark, settings, user)
            samples = tables.table_id(spark, settings.lake, Table.SAMPLES)
            local_index.delete_index(local_index.index_file(settings.ingest.index_dir, samples))
            _delete_vector_index(spark, settings)
            for table in _tables_to_purge(spark, settings.lake):
                begin_step(f"purge old versions of {table}")
                with commit_lease.held_alone(settings, table):  # people may decide about labels meanwhile
                    _purge(spark, settings, table)
        except (PySparkException, Py4JJavaError) as error:
            raise StorageError(
                f"the erasure stopped: {tables.first_line(error)}; run it again to resume it"
            ) from None
        _notes(settings).delete_files(_note_name(user))
    return Erasure(traces, resumed, copies)


def remaining_copies(settings: Settings, bootstrap: str, traces: Traces) -> list[str]:
    """Describe where the user's data still is, or may be, after an erasure."""
    kafka = settings.kafka
    hours = topics.retention_hours(kafka, bootstrap)
    copies = [f"topic {name}: {_retention(hours.get(name))}" for name in topics.names(kafka)]
    copies.append(
        f"uploads in topic {kafka.topic} that were not ingested yet: run `hub ingest --once`, then this again"
    )
    copies += [
        f"dataset snapshot {name}: {images:,} of the images, immutable; to delete them, delete "
        f"{settings.lake.at('snapshots', name)} and its row in datasets"
        for name, images in traces.datasets.items()
    ]
    copies += [
        f"dataset snapshot {name}: unreadable or unfinished, so it may have some of the images; delete "
        f"{settings.lake.at('snapshots', name)} to be sure"
        for name in traces.unreadable
    ]
    copies += [
        f"model {name}: trained on such a dataset snapshot; its artifacts may name or show images"
        for name in traces.models
    ]
    copies.append(
        "copies outside the lake's tables: saved rejects, reports, exported models, objects that ce_dataref "
        "named, backups, and old versions of objects in a versioned bucket"
    )
    return copies


def _retention(hours: float | None) -> str:
    if hours is None:
        return "does not exist"
    return "kept for ever (retention.ms is -1)" if hours < 0 else f"kept for {hours:g} h from the upload"


def _find(spark: SparkSession, settings: Settings, user: str) -> tuple[Traces, bool]:
    """The user's data, and whether an earlier erasure was interrupted; then the data in its note counts."""
    if not tables.exists(spark, settings.lake, Table.UPLOADS):
        raise LakeError(f"no tables in {settings.lake.root}: nothing to erase; is HUB__LAKE__ROOT right?")
    notes = _notes(settings)
    pending = notes.exists(_note_name(user))
    traces = redaction.find_traces(spark, settings, user)
    if traces.uploads or traces.decisions or traces.watches:
        return traces, pending
    if not pending:
        raise UnknownUser(
            f"no upload, decision or watched label of user {user!r} in {settings.lake.root}; "
            'list all users with `hub sql "SELECT DISTINCT user FROM uploads"`'
        )
    note: dict[str, Any] = notes.read_json(_note_name(user))
    return Traces(**note), True


def _tables_to_purge(spark: SparkSession, lake: Lake) -> list[Table]:
    """Tables whose old versions are purged; the ledger last, because its purge restarts the followers."""
    changed = [table for table, rule in RULES.items() if rule.apply and tables.exists(spark, lake, table)]
    return sorted(changed, key=lambda table: table == Table.UPLOADS)


def _purge(spark: SparkSession, settings: Settings, table: Table) -> None:
    version = purge.vacuum(spark, settings, table)
    if table == Table.UPLOADS:
        # Otherwise the followers would resume at table versions that no longer exist.
        ledger_stream.restart_at(spark, settings, version)
    purge.delete_log_before(spark, settings, table, version)


def _delete_vector_index(spark: SparkSession, settings: Settings) -> None:
    """Delete the index of embeddings on this machine; on others its next use removes the erased images."""
    if tables.exists(spark, settings.lake, Table.EMBEDDINGS):
        table = tables.table_id(spark, settings.lake, Table.EMBEDDINGS)
        shutil.rmtree(settings.organize.index_dir / table, ignore_errors=True)


def _notes(settings: Settings) -> Storage:
    return Storage(settings.lake.at("erasures"), settings.s3)


def _note_name(user: str) -> str:
    return f"{blake2b(user.encode(), digest_size=16).hexdigest()}.json"
