"""The streams that followers read the ledger by: where they start, and what a new start means."""

from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f

from conf.settings import Settings
from lake import label_counts, tables
from lake.errors import StorageError
from lake.schemas import Table
from lake.storage import Storage
from streaming.errors import DamagedCheckpoint
from streaming.ledger.query_checkpoint import Checkpoint
from streaming.ledger.resume_offsets import checkpoint_of

SAMPLES, DEAD_LETTERS = "samples", "dead-letters"
_WAYS_OUT = {
    SAMPLES: "samples follow the ledger from its beginning, labels are counted anew",
    DEAD_LETTERS: "the dead letters of all uploads in the ledger are sent once more",
}
_START = "followers.json"
_FILES = 64  # of the ledger at once, for a follower that was away; a commit adds a few


@dataclass(frozen=True)
class StartVersion:
    """Where new followers begin in the ledger, after an erasure that cut its history.

    Args:
        version: of the ledger; what came before it they had followed.
        taken: topic, partition and the offset after the newest that came before it.
    """

    version: int
    taken: list[tuple[str, int, int]]

    def before(self) -> Column:
        """Whether a row of the ledger came before it."""
        of_partition = (
            (f.col("topic") == topic) & (f.col("partition") == partition) & (f.col("offset") < offset)
            for topic, partition, offset in self.taken
        )
        return reduce(or_, of_partition, f.lit(False))


def uploads(spark: SparkSession, settings: Settings, columns: list[str]) -> DataFrame:
    """The ledger as a stream of appended rows."""
    reader = spark.readStream.format("delta")
    start = start_of(settings)
    if start is not None:
        reader = reader.option("startingVersion", start.version)  # heeded only where there is no checkpoint
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


def start_of(settings: Settings) -> StartVersion | None:
    """Where new followers begin; None for the whole ledger.

    That is so, too, where Delta's clean-up has removed the version since: the ledger holds all there is to
    follow, only dead letters are sent once more.
    """
    storage = Storage(settings.lake.at("checkpoints"), settings.s3)
    if not storage.exists(_START):
        return None
    try:
        said: dict[str, Any] = storage.read_json(_START)
        start = StartVersion(int(said["version"]), [(str(t), int(p), int(o)) for t, p, o in said["taken"]])
    except (StorageError, ValueError, KeyError, TypeError) as error:
        raise DamagedCheckpoint(
            f"{storage.root}/{_START} cannot be read ({error}): remove it; followers without a checkpoint "
            "then begin with the whole ledger"
        ) from None
    log = Storage(settings.lake.at(Table.UPLOADS, "_delta_log"), settings.s3)
    return start if log.exists(f"{start.version:020}.json") else None


def restart_at(spark: SparkSession, settings: Settings, version: int) -> None:
    """Let all followers start anew at the newest version of the ledger, up to which they have followed."""
    ledger = tables.read(spark, settings.lake, Table.UPLOADS)
    newest = ledger.groupBy("topic", "partition").agg(f.max("offset").alias("offset")).collect()
    taken = [(row.topic, row.partition, row.offset + 1) for row in newest]
    content = {"version": version, "taken": taken}
    Storage(settings.lake.at("checkpoints"), settings.s3).write_json(_START, content)
    for name in _WAYS_OUT:
        storage, old = checkpoint_of(settings, name), checkpoint_of(settings, f"{name}.old")
        old.delete()
        if storage.names():
            storage.move(old.root)  # in one step, where the disk has one: half a checkpoint is a damaged one
        old.delete()


def _recount(spark: SparkSession, settings: Settings) -> None:
    if tables.read(spark, settings.lake, Table.LABELS).isEmpty():
        return
    # By positions: Delta forgets versions, and refuses to read one after a week.
    start = start_of(settings)
    before = f.lit(False) if start is None else start.before()
    ledger = tables.read(spark, settings.lake, Table.UPLOADS)
    try:
        label_counts.recount(spark, settings.lake, ledger.where(before), settings.labels.ready_images)
    except (PySparkException, Py4JJavaError) as error:
        raise StorageError(f"cannot count the labels anew: {tables.first_line(error)}") from None
