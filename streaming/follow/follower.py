"""Declaration of a follower: a streaming query that reads the ledger and writes data derived from it."""

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, SparkSession

from conf.settings import Settings
from streaming.follow.image_index import ImageIndex

ARRIVAL_ORDER = ("event_time", "topic", "partition", "offset")
"""Columns of `uploads` by which followers sort: of several uploads, the first is the one that counts."""

Write = Callable[[DataFrame, int], None]
"""Writes a micro-batch of ledger rows, given its id. Must be idempotent: it may be called again with both."""


@dataclass(frozen=True)
class FollowerContext:
    """Resources for followers.

    Args:
        settings: of the hub.
        bootstrap: address of the Kafka cluster.
        images: index of the images that have a sample, up to date with `samples`.
    """

    settings: Settings
    bootstrap: str
    images: ImageIndex


def _reset_nothing(spark: SparkSession, settings: Settings, followed: Column) -> None:
    pass


@dataclass(frozen=True)
class Follower:
    """A follower's declaration.

    Args:
        name: of the streaming query.
        columns: of `uploads` that it reads.
        on_restart: effect of a restart from the ledger's beginning, for messages about damaged checkpoints.
        writer: makes the function that writes each micro-batch.
        reset: called before the query starts without a checkpoint, with a condition that is true for the
            ledger rows that the follower has processed before and will not read again.
        trigger_seconds: between its micro-batches, if `ingest.trigger_seconds` is longer; None: no less than
            that.
        version: increase it when the follower writes new data for rows that it has read already. A query
            with a new name then reads the whole ledger again.
    """

    name: str
    columns: list[str]
    on_restart: str
    writer: Callable[[FollowerContext], Write]
    reset: Callable[[SparkSession, Settings, Column], None] = _reset_nothing
    trigger_seconds: float | None = None
    version: int = 1

    @property
    def query(self) -> str:
        """Name of the streaming query and of its checkpoint folder."""
        return self.name if self.version == 1 else f"{self.name}-{self.version}"
