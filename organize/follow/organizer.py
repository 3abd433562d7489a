"""Gives images their embeddings, and leads them through the stages, a chunk at a time."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.storagelevel import StorageLevel

from conf.settings import Settings
from lake.job_failures import job_errors
from lake.locks import organize_lock
from lake.spark.session_properties import arrow_batch_limits, temporary_properties
from organize.features import embeddings, network_file
from organize.features.embedder import Embedder, embedder_of
from organize.features.embedding import ARROW_RECORDS, with_vectors
from organize.features.network_file import NetworkFile
from organize.follow import pictures, progress
from organize.follow.counts import Counts
from organize.follow.stages import STAGES, Stage

_ARROW_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Organizer:
    """Embeds images of a lake with one model.

    Args:
        settings: of the hub.
        embedder: network of the embeddings.
        file: the network as TFLite.
        counts: of all that was done.
        report: called with a line after each chunk.
        command: shown to processes that wait.
        stages: after the embedding, in this order.
    """

    settings: Settings
    embedder: Embedder
    file: NetworkFile
    counts: Counts
    report: Callable[[str], None]
    command: str
    stages: Sequence[Stage] = STAGES
    _thread_lock: threading.RLock = field(default_factory=threading.RLock)

    @classmethod
    def create(
        cls, settings: Settings, report: Callable[[str], None], command: str, counts: Counts | None = None
    ) -> Self:
        """Find the embedder, and make its TFLite file if it is missing.

        Raises:
            UnusableEmbedder, UnusableModel, UnusableWeights: it does not exist or does not fit.
        """
        embedder = embedder_of(settings)
        file = network_file.get_or_create(settings, embedder)
        return cls(settings, embedder, file, counts or Counts(), report, command, STAGES)

    @property
    def model_id(self) -> str:
        """Of the embeddings."""
        return self.embedder.model_id

    def organize(
        self,
        spark: SparkSession,
        samples: pa.Table,
        ledger: DataFrame | None = None,
        stopped: threading.Event | None = None,
    ) -> None:
        """Embed samples that have no embedding yet, and lead them through the stages.

        Args:
            spark: session to run on.
            samples: rows of `pictures.not_embedded`, or of `pictures.of_images`.
            ledger: rows of `uploads` with their pictures; None finds them in the whole ledger.
            stopped: once it is set, further chunks are left to `pictures.not_embedded` of the next run.
        """
        rows = self.settings.organize.chunk_images
        for first in range(0, len(samples), rows):
            if stopped is not None and stopped.is_set():
                return
            with self._thread_lock, organize_lock.held(self.settings, self.command) as refuse_if_lost:
                self._organize_chunk(spark, samples.slice(first, rows), ledger, refuse_if_lost)

    def finish(self, spark: SparkSession) -> None:
        """Run the stages for embeddings that have not been through them: after a crash, or of a new stage."""
        if not self.stages:
            return
        with self._thread_lock, organize_lock.held(self.settings, self.command):
            rows = embeddings.of_model(spark, self.settings, self.model_id)
            times = embeddings.commits(rows)
            done = progress.read(self.settings, self.model_id)
            for commit, missing in progress.unfinished(done, [each.name for each in self.stages], times):
                self._run_again(spark, commit, [each for each in self.stages if each.name in missing])

    def _organize_chunk(
        self,
        spark: SparkSession,
        samples: pa.Table,
        ledger: DataFrame | None,
        refuse_if_lost: Callable[[], None],
    ) -> None:
        began = time.monotonic()
        # Another process may have embedded some of them while this one waited for the lock.
        known = pictures.embedded(self.settings, self.model_id, samples["image_id"].to_pylist())
        samples = samples.filter(pa.array(each not in known for each in samples["image_id"].to_pylist()))
        if not len(samples):
            return
        found = pictures.ledger_of(spark, self.settings, samples) if ledger is None else ledger
        rows = with_vectors(pictures.with_pictures(found, samples), self.file, len(samples))
        with job_errors("cannot organize the images"), _persisted(rows) as images:
            total, readable = _count(images)
            if not total:
                return
            after = embeddings.newest(self.settings, self.model_id)
            refuse_if_lost()
            commit = embeddings.write(images, self.settings, self.model_id, after)
            self.counts.embedded += total
            self.counts.unreadable += total - readable
            embedded = time.monotonic() - began
            done = self._run_stages(spark, images, commit, self.stages)
        parts = [f"{total:,} images embedded in {embedded:.1f} s", *done]
        self.report(", ".join(parts))

    def _run_again(self, spark: SparkSession, commit: datetime, stages: Sequence[Stage]) -> None:
        """Run stages for the embeddings of a commit."""
        rows = embeddings.of_commit(embeddings.of_model(spark, self.settings, self.model_id), commit)
        vectors = rows.where("vector IS NOT NULL").select("image_id", "vector").toArrow()
        samples = pictures.of_images(self.settings, vectors["image_id"].to_pylist())
        found = pictures.with_pictures(pictures.ledger_of(spark, self.settings, samples), samples)
        with_rows = found.join(f.broadcast(spark.createDataFrame(vectors)), "image_id")
        with job_errors("cannot organize the images"), _persisted(with_rows) as images:
            done = self._run_stages(spark, images, commit, stages)
        self.report(", ".join([f"{len(samples):,} images resumed", *done]))

    def _run_stages(
        self, spark: SparkSession, images: DataFrame, commit: datetime, stages: Sequence[Stage]
    ) -> list[str]:
        readable, described = images.where("vector IS NOT NULL"), []
        done = progress.read(self.settings, self.model_id)
        for stage in stages:
            began = time.monotonic()
            handled = stage.run(spark, self.settings, readable, self.model_id)
            self.counts.add_stage(stage.key, handled)
            described.append(f"{handled:,} {stage.key} in {time.monotonic() - began:.1f} s")
            done[stage.name] = commit
        progress.write(self.settings, self.model_id, done)
        return described


@contextmanager
def _persisted(rows: DataFrame) -> Iterator[DataFrame]:
    """Compute rows once, and keep them while the block runs."""
    kept = rows.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        yield kept
    finally:
        kept.unpersist()


def _count(images: DataFrame) -> tuple[int, int]:
    """The number of images, and of those with a vector. The first job on persisted rows: it computes them."""
    with temporary_properties(images.sparkSession, arrow_batch_limits(ARROW_RECORDS, _ARROW_BYTES)):
        counted = images.agg(f.count("*").alias("all"), f.count("vector").alias("readable")).collect()[0]
    return counted["all"], counted["readable"]
