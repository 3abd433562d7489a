"""The course of a training run on the driver: what is held, begun and told about it, however it ends."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass

from pyspark.sql import SparkSession

from conf.settings import Settings
from lake.errors import StorageError
from lake.snapshot import Snapshot
from lake.spark.session import stop, stop_aside
from lake.storage import Storage
from models import preload
from models.errors import Diverged
from models.plan import TrainingPlan, WorkerTask
from models.registry import model_cards, model_rows
from models.runs import cluster, resumption
from models.runs.resumption import RunLock
from models.runs.run_report import Judgement, Report
from models.runs.run_state import RunState
from models.workers import initial_weights
from models.workers.worker_main import main

PLAN = "plan.json"  # beside the artifacts


@dataclass(frozen=True)
class TrainingRun:
    """A run that this process holds, step by step.

    Args:
        settings: of the hub.
        plan: what to train.
        snapshot: on what.
        claim: the run.
        bar: show a progress bar.
    """

    settings: Settings
    plan: TrainingPlan
    snapshot: Snapshot
    claim: RunLock
    bar: bool

    @property
    def storage(self) -> Storage:
        """Where its files go."""
        return model_cards.artifacts(self.settings, self.claim.model_id)

    def prepare(self, start: initial_weights.InitialWeights | None) -> None:
        """Leave what the workers start from; a place that cannot be written is found here.

        Raises:
            StorageError: it cannot.
        """
        with self._without_a_row():
            self.storage.write_json(PLAN, asdict(self.plan))
            if start:
                start.write(self.storage)
            mark_abandoned_runs(self.settings)
        if self.claim.epochs is not None:
            print(
                f"going on with {self.claim.model_id} after epoch {self.claim.epochs}: "
                "the same command was cut off",
                file=sys.stderr,
            )

    @contextmanager
    def _without_a_row(self) -> Iterator[None]:
        """Where nothing has begun, nothing is left to go on with."""
        try:
            yield
        except BaseException:
            if self.claim.epochs is None:
                self.claim.close()
            raise

    @contextmanager
    def session(self, given: SparkSession | None) -> Iterator[SparkSession]:
        """A session with executors enough; one that is made here ends in the background after the block."""
        with self._without_a_row():
            preload.import_in_background("deltalake")  # while the JVM starts
            session = given or cluster.start_session(self.settings, self.plan.workers)
        try:
            with self._without_a_row():
                cluster.require(session, self.plan.workers)
                labels, resumed = self.snapshot.labels, self.claim.epochs is not None
                model_rows.begin(self.settings, self.claim.model_id, self.plan, labels, resumed)
            yield session
        except BaseException:
            if given is None:
                stop(session)
            raise
        if given is None:
            stop_aside(session)

    def followed(self, session: SparkSession) -> tuple[RunState, Judgement]:
        """Run the workers to their end and write what they found; the registry is told why they failed.

        Raises:
            ClusterTooSmall, TrainingFailed: as `cluster.run`.
            StorageError: figures or pictures cannot be written.
        """

        def task(address: tuple[str, int], authkey: bytes) -> WorkerTask:
            run, keep = self.claim.entry.run, self.settings.train.keep_checkpoints
            return WorkerTask(
                self.plan, self.claim.model_id, self.snapshot, self.storage, address, authkey, run, keep
            )

        limits = self.settings.train
        report = Report(self.storage, self.snapshot, self.plan, self.claim.model_id)
        with self.failure_recorded(), report:
            record = cluster.run(session, main, task, self.plan.workers, limits, self.bar, report.hear)
            return record, report.judgement()

    @contextmanager
    def failure_recorded(self) -> Iterator[None]:
        """The row says why the block failed, as far as it can be written: the cause is what counts."""
        try:
            yield
        except BaseException as error:
            interrupted = isinstance(error, KeyboardInterrupt)
            detail = "interrupted" if interrupted else str(error) or type(error).__name__
            with suppress(StorageError):
                model_rows.end(self.settings, self.claim.model_id, None, detail)
                if isinstance(error, Diverged):
                    self.claim.close()
            raise


def mark_abandoned_runs(settings: Settings) -> list[str]:
    """Mark runs whose driver has gone without a word as failed.

    Returns:
        their ids.
    """
    found = resumption.abandoned_runs(settings)
    for entry in found:
        detail = "its driver ended without a word; the same command goes on with it"
        model_rows.end(settings, entry.model_id, None, detail)
    return [entry.model_id for entry in found]
