"""The ledger as a stream for followers: where each follower starts, and how all are restarted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f

from conf.settings import Settings
from lake import tables
from lake.errors import StorageError
from lake.storage import Storage
from lake.table import Table
from streaming.errors import DamagedCheckpoint
from streaming.follow.follower import Follower
from streaming.follow.followers import FOLLOWERS
from streaming.ledger.query_checkpoint import QueryCheckpoint
from streaming.ledger.resume_offsets import checkpoint_of

_START_FILE = "followers.json"
_FILES_PER_BATCH = 64  # for a follower that has fallen behind; one commit to the ledger adds a few files
# The followers of older hubs, whose `followers.json` does not name them.
_FIRST_FOLLOWERS = ("samples", "dead-letters")


@dataclass(frozen=True)
class StartVersion:
    """Where followers without a checkpoint start in the ledger, after an erasure that purged its history.

    Args:
        version: table version of the ledger, up to which the followers had read.
        next_offsets: topic, partition and the offset after the newest upload in that version.
        followers: query names of the followers that had read up to it.
    """

    version: int
    next_offsets: list[tuple[str, int, int]]
    followers: frozenset[str]

    def followed(self) -> Column:
        """Condition for ledger rows that are part of this version."""
        of_partition = (
            (f.col("topic") == topic) & (f.col("partition") == partition) & (f.col("offset") < offset)
            for topic, partition, offset in self.next_offsets
        )
        return reduce(or_, of_partition, f.lit(False))


def uploads(
    spark: SparkSession, settings: Settings, follower: Follower, options: Mapping[str, str] | None = None
) -> DataFrame:
    """The ledger as a stream of appended rows, with the follower's columns.

    Args:
        options: of Delta's source, in place of the usual ones, for a follower that is not in `FOLLOWERS`.
    """
    chosen = {"maxFilesPerTrigger": str(_FILES_PER_BATCH)}
    start = start_version(settings, follower)
    if start is not None:
        chosen["startingVersion"] = str(start.version)  # Spark ignores it if a checkpoint exists
    return (
        spark.readStream.format("delta")
        .options(**chosen | dict(options or {}))
        .option("skipChangeCommits", True)  # erasure and maintenance rewrite files without new uploads
        .load(settings.lake.at(Table.UPLOADS))
        .select(*follower.columns)
    )


def prepare(spark: SparkSession, settings: Settings, followers: Sequence[Follower] = FOLLOWERS) -> None:
    """Check the followers' checkpoints before Spark reads them; call `reset` of followers without one.

    Raises:
        DamagedCheckpoint: a checkpoint cannot be used.
    """
    for follower in followers:
        checkpoint = QueryCheckpoint.read(checkpoint_of(settings, follower.query), follower.on_restart)
        if checkpoint is None:
            start = start_version(settings, follower)
            follower.reset(spark, settings, f.lit(False) if start is None else start.followed())


def start_version(settings: Settings, follower: Follower) -> StartVersion | None:
    """Where a follower without a checkpoint starts; None for the ledger's beginning.

    A follower that is newer than the erasure reads the whole ledger. All followers do if Delta has cleaned up
    the start version meanwhile; then dead letters are sent again.
    """
    storage = Storage(settings.lake.at("checkpoints"), settings.s3)
    if not storage.exists(_START_FILE):
        return None
    try:
        content: dict[str, Any] = storage.read_json(_START_FILE)
        offsets = [(str(topic), int(partition), int(offset)) for topic, partition, offset in content["taken"]]
        followers = frozenset(content.get("followers", _FIRST_FOLLOWERS))
        start = StartVersion(int(content["version"]), offsets, followers)
    except (StorageError, ValueError, KeyError, TypeError) as error:
        raise DamagedCheckpoint(
            f"{storage.root}/{_START_FILE} cannot be read ({error}): delete it; then followers without a "
            "checkpoint read the whole ledger"
        ) from None
    if follower.query not in start.followers:
        return None
    log = Storage(settings.lake.at(Table.UPLOADS, "_delta_log"), settings.s3)
    return start if log.exists(f"{start.version:020}.json") else None


def restart_at(
    spark: SparkSession, settings: Settings, version: int, followers: Sequence[Follower] = FOLLOWERS
) -> None:
    """Make all followers restart at a table version of the ledger; they must have read up to it."""
    ledger = tables.read(spark, settings.lake, Table.UPLOADS)
    newest = ledger.groupBy("topic", "partition").agg(f.max("offset").alias("offset")).collect()
    next_offsets = [(row.topic, row.partition, row.offset + 1) for row in newest]
    content = {"version": version, "taken": next_offsets, "followers": [each.query for each in followers]}
    Storage(settings.lake.at("checkpoints"), settings.s3).write_json(_START_FILE, content)
    for follower in followers:
        storage = checkpoint_of(settings, follower.query)
        old = checkpoint_of(settings, f"{follower.query}.old")
        old.delete_all()
        if storage.list_files():
            storage.move(old.root)  # atomic on a local disk: a half-deleted checkpoint would be damaged
        old.delete_all()
