"""The streams that followers read the ledger by: where they start, and what a new start means."""

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from conf.settings import Settings
from lake import counts, tables
from lake.errors import StorageError
from lake.schemas import Table
from lake.storage import Storage
from streaming.checkpoint import Checkpoint
from streaming.continuation import checkpoint_of
from streaming.errors import DamagedCheckpoint

SAMPLES, DEAD_LETTERS = "samples", "dead-letters"
_WAYS_OUT = {
    SAMPLES: "samples follow the ledger from its beginning, labels are counted anew",
    DEAD_LETTERS: "the dead letters of all uploads in the ledger are sent once more",
}
_START = "followers.json"
_FILES = 64  # of the ledger at once, for a follower that was away; a commit adds a few


def uploads(spark: SparkSession, settings: Settings, columns: list[str]) -> DataFrame:
    """The ledger as a stream of appended rows."""
    reader = spark.readStream.format("delta")
    start = starting_version(settings)
    if start is not None:
        reader = reader.option("startingVersion", start)  # heeded only where there is no checkpoint
    return (
        reader.option("maxFilesPerTrigger", _FILES)
        .option("skipChangeCommits", True)  # erasure and maintenance rewrite files; no new uploads
        .load(settings.lake.at(Table.UPLOADS))
        .select(*columns)
    )


def prepare(spark: SparkSession, settings: Settings) -> None:
    """Look at the followers' checkpoints before Spark does.

    A new follower adds what it reads to the labels' counts, so they are set to what came before.

    Raises:
        DamagedCheckpoint: one cannot be used.
    """
    for name, way_out in _WAYS_OUT.items():
        found = Checkpoint.read(checkpoint_of(settings, name), way_out)
        if found is None and name == SAMPLES:
            _recount(spark, settings)


def starting_version(settings: Settings) -> int | None:
    """The version of the ledger that new followers start at; None for its first."""
    storage = Storage(settings.lake.at("checkpoints"), settings.s3)
    if not storage.exists(_START):
        return None
    try:
        return int(str(storage.read_json(_START)["starting_version"]))
    except (StorageError, ValueError, KeyError) as error:
        raise DamagedCheckpoint(
            f'{storage.root}/{_START} cannot be read ({error}): write {{"starting_version": N}} into it, '
            "N being the oldest version in the history of the table uploads"
        ) from None


def restart_at(settings: Settings, version: int) -> None:
    """Let all followers start anew at a version of the ledger; they must have followed up to it."""
    Storage(settings.lake.at("checkpoints"), settings.s3).write_json(_START, {"starting_version": version})
    for name in _WAYS_OUT:
        storage, old = checkpoint_of(settings, name), checkpoint_of(settings, f"{name}.old")
        old.delete()
        if storage.names():
            storage.move(old.root)  # in one step, where the disk has one: half a checkpoint is a damaged one
        old.delete()


def _recount(spark: SparkSession, settings: Settings) -> None:
    if tables.read(spark, settings.lake, Table.LABELS).isEmpty():
        return
    start = starting_version(settings)
    before = tables.read(spark, settings.lake, Table.UPLOADS, start or 0)
    try:
        counts.recount(spark, settings.lake, before, settings.labels.ready_images)
    except (PySparkException, Py4JJavaError) as error:
        raise StorageError(f"cannot count the labels anew: {tables.first_line(error)}") from None
