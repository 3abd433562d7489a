"""The streaming query that follows the ledger: each micro-batch of uploads is organized."""

import threading
import time
from dataclasses import dataclass, field

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from conf.settings import Settings
from lake import tables
from lake.storage import Storage
from lake.table import Table
from organize.follow import pictures
from organize.follow.organizer import Organizer
from organize.follow.stages import PICTURE_COLUMNS
from streaming.errors import DamagedCheckpoint
from streaming.follow import ledger_stream
from streaming.follow.follower import Follower, FollowerContext, Write
from streaming.ledger.query_checkpoint import QueryCheckpoint
from streaming.ledger.resume_offsets import checkpoint_of

_COLUMNS = ["verdict", *pictures.KEYS, *PICTURE_COLUMNS]
_BYTES_PER_BATCH = "256m"
_POLL_SECONDS = 0.2


def _not_by_ingestion(context: FollowerContext) -> Write:
    raise NotImplementedError("it is not run by an ingestion")


def follower_of(name: str) -> Follower:
    """The declaration of a query that organizes; no ingestion runs it."""
    again = "samples without an embedding are found again"
    return Follower(name=name, columns=_COLUMNS, on_restart=again, writer=_not_by_ingestion)


@dataclass(frozen=True)
class LedgerQuery:
    """Organizes the uploads that a stream of the ledger brings.

    Args:
        organizer: embeds and leads through the stages.
        name: of the query, and of its checkpoint.
        late: set when an upload has waited in vain for its sample; `pictures.not_embedded` finds it later.
        stopped: set when the command ends, so that nothing waits any longer.
    """

    organizer: Organizer
    name: str
    late: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)

    def start(self, spark: SparkSession, first_version: int | None, once: bool) -> StreamingQuery:
        """Start the query at its checkpoint.

        Args:
            first_version: of the ledger, to read if there is no checkpoint; None for all of the ledger.
            once: end when the ledger's newest version is reached.
        """
        settings = self.organizer.settings
        discard_stale_checkpoint(spark, settings, self.name)
        options = {"maxBytesPerTrigger": _BYTES_PER_BATCH}
        if first_version is not None:
            options["startingVersion"] = str(first_version)
        stream = ledger_stream.uploads(spark, settings, follower_of(self.name), options)
        writer = (
            stream.writeStream.queryName(self.name)
            .foreachBatch(self.write)
            .option("checkpointLocation", checkpoint_of(settings, self.name).root)
        )
        if once:
            return writer.trigger(availableNow=True).start()
        return writer.trigger(processingTime=f"{settings.organize.trigger_seconds} seconds").start()

    def write(self, uploads: DataFrame, batch: int) -> None:
        """Organize a micro-batch; again with the same uploads, it only does what is not done yet."""
        spark, organizer = uploads.sparkSession, self.organizer
        accepted = uploads.where("verdict = 'accepted'").select(*pictures.KEYS).toArrow()
        if not len(accepted):
            return
        samples = self._wait_for_samples(spark, set(accepted["image_id"].to_pylist()))
        here = set(zip(*accepted.to_pydict().values(), strict=True))
        rows = list(zip(samples["image_id"].to_pylist(), samples["upload_id"].to_pylist(), strict=True))
        self._note_late({image_id for image_id, upload_id in rows if (image_id, upload_id) not in here})
        samples = samples.filter(pa.array([row in here for row in rows], pa.bool_()))
        organizer.organize(spark, samples, uploads, self.stopped)

    def _note_late(self, image_ids: set[str]) -> None:
        """Note images whose first upload, which has the picture, is in another micro-batch."""
        organizer = self.organizer
        if image_ids - pictures.embedded(organizer.settings, organizer.model_id, image_ids):
            self.late.set()

    def _wait_for_samples(self, spark: SparkSession, image_ids: set[str]) -> pa.Table:
        """The samples of images. The ingestion writes them a moment after the ledger."""
        settings = self.organizer.settings
        deadline = time.monotonic() + settings.organize.sample_seconds
        while True:
            version = tables.version(spark, settings.lake, Table.SAMPLES)
            samples = pictures.of_images(settings, image_ids)
            if len(samples) == len(image_ids):
                return samples
            while tables.version(spark, settings.lake, Table.SAMPLES) == version:
                if time.monotonic() > deadline or self.stopped.wait(_POLL_SECONDS):
                    self.late.set()
                    return samples


def discard_stale_checkpoint(spark: SparkSession, settings: Settings, name: str) -> bool:
    """Delete a checkpoint that cannot be continued: damaged, of another table, or before an erasure.

    An erasure deletes the ledger's old versions. Nothing is lost: what the stream does not bring,
    `pictures.not_embedded` finds.

    Returns:
        whether there is a checkpoint that the query can continue.
    """
    storage = checkpoint_of(settings, name)
    try:
        checkpoint = QueryCheckpoint.read(storage, "")
    except DamagedCheckpoint:
        storage.delete_all()
        return False
    if checkpoint is None:
        return False
    offsets = checkpoint.offsets or {}
    log = Storage(settings.lake.at(Table.UPLOADS, "_delta_log"), settings.s3)
    version = int(offsets.get("reservoirVersion", 0))
    newest = tables.version(spark, settings.lake, Table.UPLOADS)
    same_table = offsets.get("reservoirId") == tables.table_id(spark, settings.lake, Table.UPLOADS)
    if same_table and (version > newest or log.exists(f"{version:020}.json")):
        return True
    storage.delete_all()
    return False
