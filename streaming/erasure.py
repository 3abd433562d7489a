"""Erasing a user: in an order that can be interrupted and run again; see docs/decisions/006-erasure.md."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from conf.settings import Settings
from lake import label_counts, tables
from lake.erasure import purge, redaction
from lake.erasure.redaction import Traces
from lake.errors import LakeError, StorageError
from lake.locks import maintenance_lock
from lake.schemas import Table
from lake.storage import Storage
from streaming import topics
from streaming.errors import LakeInUse, UnknownUser
from streaming.follow import ledger_stream
from streaming.ingestion import Ingestion
from streaming.ledger import lake_lease, local_index

_SWEPT = (Table.SAMPLES, Table.LABELS, Table.UPLOADS)


@dataclass(frozen=True)
class Erasure:
    """What was, or would be, erased.

    Args:
        traces: what there was of the user.
        resumed: an earlier erasure of this user had been interrupted.
        out_of_reach: where the user's data still is or may be, for people.
    """

    traces: Traces
    resumed: bool
    out_of_reach: list[str]


def planned(spark: SparkSession, settings: Settings, bootstrap: str, user: str) -> Erasure:
    """What `erase` would do; changes nothing.

    Raises:
        UnknownUser: the ledger holds nothing of the user.
    """
    found, pending = _found(spark, settings, user)
    return Erasure(found, pending, out_of_reach(settings, bootstrap, found))


def erase(
    spark: SparkSession,
    settings: Settings,
    bootstrap: str,
    user: str,
    on_step: Callable[[str], None] = lambda step: None,
) -> Erasure:
    """Remove a user's rows, pixels and samples from all tables and their old versions.

    Neither ingestion nor organization runs meanwhile. Interrupted, it is to be run again: a note below
    `erasures` says that it was begun, and every step can be repeated.

    Args:
        on_step: called with what is done next.

    Raises:
        UnknownUser: the ledger holds nothing of the user; nothing was touched.
        LakeInUse: another process ingests into the lake.
        InUse: another process organizes it, or has since a lease on S3 was lost.
        StorageError: old files cannot be removed.
    """
    lost: list[str] = []
    with (
        lake_lease.held(settings, "erase", lost.append),
        maintenance_lock.held(settings, "erase") as refuse_if_lost,
    ):

        def step(what: str) -> None:
            """Begin what may only be done alone: others' unfinished files would be removed, too."""
            refuse_if_lost()
            if lost:
                raise LakeInUse(f"stopped before the erasure was done: {lost[0]}; run it again")
            on_step(what)

        found, resumed = _found(spark, settings, user)
        reach = out_of_reach(settings, bootstrap, found)
        step("bring samples, labels and dead letters up to the ledger")
        # They read the ledger's old versions, which will be gone.
        Ingestion(spark, settings, bootstrap).catch_up()
        _notes(settings).write_json(_note(user), asdict(found))
        try:
            step("remove samples, or hand them to others who uploaded the same image")
            redaction.hand_over(spark, settings.lake, user)
            step("empty the rows of the ledger")
            redaction.redact(spark, settings.lake, user)
            ledger = tables.read(spark, settings.lake, Table.UPLOADS)
            label_counts.recount(spark, settings.lake, ledger, settings.labels.ready_images)
            samples = tables.identifier(spark, settings.lake, Table.SAMPLES)
            local_index.discard(local_index.file_of(settings.ingest.index_dir, samples))
            for table in _SWEPT:
                step(f"remove old versions of {table}")
                _forget(spark, settings, table)
        except (PySparkException, Py4JJavaError) as error:
            raise StorageError(
                f"the erasure stopped: {tables.first_line(error)}; run it again, it goes on where it stopped"
            ) from None
        _notes(settings).remove(_note(user))
    return Erasure(found, resumed, reach)


def out_of_reach(settings: Settings, bootstrap: str, found: Traces) -> list[str]:
    """Where the user's data still is, or may be, after an erasure."""
    kafka = settings.kafka
    hours = topics.retention_hours(kafka, bootstrap)
    told = [f"topic {name}: {_kept(hours.get(name))}" for name in (kafka.topic, kafka.rejected_topic)]
    told.append(
        f"uploads that lie in {kafka.topic} and were not ingested yet: run `hub ingest --once`, then this"
    )
    told += [f"snapshot {name}: {n:,} of the images, immutable; delete {settings.lake.at('snapshots', name)} "
             "and its row in datasets to be rid of them" for name, n in found.datasets.items()]  # fmt: skip
    told += [
        f"snapshot {name}: cannot be read or was never finished, so nobody knows; delete "
        f"{settings.lake.at('snapshots', name)} to be sure"
        for name in found.unreadable
    ]
    told += [
        f"model {name}: trained on such a snapshot; its artifacts may name or show images"
        for name in found.models
    ]
    told.append("what was copied out of the lake: saved rejects, reports, exported models, objects that "
                "ce_dataref named, backups, and old versions of objects in a versioned bucket")  # fmt: skip
    return told


def _kept(hours: float | None) -> str:
    if hours is None:
        return "not there"
    return "kept for ever (retention.ms is -1)" if hours < 0 else f"kept for {hours:g} h from the upload"


def _found(spark: SparkSession, settings: Settings, user: str) -> tuple[Traces, bool]:
    if not tables.exists(spark, settings.lake, Table.UPLOADS):
        raise LakeError(f"no tables in {settings.lake.root}: nothing to erase; is HUB__LAKE__ROOT right?")
    notes = _notes(settings)
    pending = notes.exists(_note(user))
    found = redaction.traces(spark, settings, user)
    if found.uploads:
        return found, pending
    if not pending:
        raise UnknownUser(
            f"no upload of user {user!r} in {settings.lake.root}; "
            'see who there is with `hub sql "SELECT DISTINCT user FROM uploads"`'
        )
    note: dict[str, Any] = notes.read_json(_note(user))
    return Traces(**note), True


def _forget(spark: SparkSession, settings: Settings, table: Table) -> None:
    version = purge.sweep(spark, settings, table)
    if table == Table.UPLOADS:
        # Followers that went on from before would look for versions that are gone.
        ledger_stream.restart_at(spark, settings, version)
    purge.forget(spark, settings, table, version)


def _notes(settings: Settings) -> Storage:
    return Storage(settings.lake.at("erasures"), settings.s3)


def _note(user: str) -> str:
    return f"{blake2b(user.encode(), digest_size=16).hexdigest()}.json"
