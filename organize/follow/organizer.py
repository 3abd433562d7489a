"""Gives images their embeddings, and leads them through the stages, a chunk at a time."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession

from conf.settings import Settings
from lake.job_failures import job_errors
from lake.locks import commit_lease, organize_lock
from lake.table import Table
from lake.table_files import TableFiles
from organize.chunk import Chunk, SampleChanges
from organize.features import embeddings, network_file
from organize.features.description import FEW, Describe, describe_here, describe_on_spark
from organize.features.embedder import Embedder, embedder_of
from organize.features.embedding import WithVectors
from organize.features.network_file import NetworkFile
from organize.follow import pictures, progress
from organize.follow.counts import Counts
from organize.follow.stages import STAGES, Stage, named

_CHUNKS_PER_COMPACTION = 50
_GROWING = (Table.EMBEDDINGS, Table.SAMPLES, Table.DUPLICATE_PAIRS, Table.GROUPS)


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

    @contextmanager
    def turn(self) -> Iterator[Callable[[], None]]:
        """Hold up all other organizing, in this process and in others; see `organize_lock.held`."""
        with self._thread_lock, organize_lock.held(self.settings, self.command) as refuse_if_lost:
            yield refuse_if_lost

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
            with self.turn() as refuse_if_lost:
                self._organize_chunk(spark, samples.slice(first, rows), ledger, refuse_if_lost)

    def finish(self, spark: SparkSession) -> None:
        """Run the stages for embeddings that have not been through them: after a crash, or of a new stage."""
        if not self.stages:
            return
        with self.turn():
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
        with job_errors("cannot embed the images"):
            images = self._described(found, samples, [WithVectors(self.file), *self._steps()])
        if not len(images):
            return
        after = embeddings.newest(self.settings, self.model_id)
        refuse_if_lost()
        commit = embeddings.write(images, self.settings, self.model_id, after)
        self.counts.embedded += len(images)
        self.counts.unreadable += images["vector"].null_count
        embedded = f"{len(images):,} images embedded in {time.monotonic() - began:.1f} s"
        self.report(", ".join([embedded, *self._run_stages(spark, images, commit, self.stages)]))
        self._compact()

    def _compact(self) -> None:
        """Merge small files now and then: each chunk adds one to every table that it writes."""
        self.counts.chunks += 1
        if self.counts.chunks % _CHUNKS_PER_COMPACTION == 0:
            for table in _GROWING:
                files = TableFiles.newest(self.settings, table)
                if files is not None:
                    with commit_lease.held(self.settings, table):
                        files.compact(self.settings)

    def _steps(self) -> list[Describe]:
        """What the stages need of the pixels."""
        steps = (stage.describe(self.settings) for stage in self.stages)
        return [step for step in steps if step is not None]

    def _described(self, ledger: DataFrame, samples: pa.Table, steps: Sequence[Describe]) -> pa.Table:
        """The samples whose upload is in `ledger`, with what is computed of their pixels."""
        if len(samples) <= FEW:
            return describe_here(pictures.with_few_pictures(ledger, samples), steps)
        return describe_on_spark(pictures.with_pictures(ledger, samples), steps, len(samples))

    def _run_again(self, spark: SparkSession, commit: datetime, stages: Sequence[Stage]) -> None:
        """Run stages for the embeddings of a commit."""
        rows = embeddings.of_commit(embeddings.of_model(spark, self.settings, self.model_id), commit)
        vectors = rows.where("vector IS NOT NULL").select("image_id", "vector").toArrow()
        samples = pictures.of_images(self.settings, vectors["image_id"].to_pylist())
        with job_errors("cannot organize the images"):
            found = pictures.ledger_of(spark, self.settings, samples)
            images = self._described(found, samples, self._steps())
        images = pictures.joined(images, vectors, ["image_id"], ["vector"])
        done = self._run_stages(spark, images, commit, stages)
        self.report(", ".join([f"{len(images):,} images resumed", *done]))

    def _run_stages(
        self, spark: SparkSession, images: pa.Table, commit: datetime, stages: Sequence[Stage]
    ) -> list[str]:
        readable = images.filter(pc.is_valid(images["vector"]))
        changes, described = SampleChanges(self.settings), []
        chunk = Chunk(spark, self.settings, self.model_id, readable, changes)
        done = progress.read(self.settings, self.model_id)
        for stage in stages:
            began = time.monotonic()
            with named(stage.name):
                handled = stage.run(chunk)
            self.counts.add_stage(stage.key, handled)
            if handled:
                described.append(f"{handled:,} {stage.key} in {time.monotonic() - began:.1f} s")
            done[stage.name] = commit
        began = time.monotonic()
        changes.write()
        described.append(f"samples written in {time.monotonic() - began:.1f} s")
        progress.write(self.settings, self.model_id, done)
        return described
