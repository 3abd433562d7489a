"""Lifecycle of a training run on the driver: files, Spark session, registry entries, however it ends."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass

from pyspark.sql import SparkSession

from conf.settings import Settings
from lake.errors import StorageError
from lake.snapshot import DatasetSnapshot
from lake.spark.session import stop, stop_in_background
from lake.storage import Storage
from models import preload
from models.errors import Diverged, LeaseLost, UnknownModel
from models.plan import TrainingPlan, WorkerTask
from models.registry import model_cards, model_rows
from models.registry.model_cards import State
from models.runs import cluster, resumption
from models.runs.executors import wait_for_executors
from models.runs.resumption import RunLock
from models.runs.run_report import ModelQuality, RunReport
from models.runs.run_state import RunState
from models.workers import initial_weights
from models.workers.worker_main import main

PLAN = "plan.json"  # beside the artifacts

# Why a run ended, in its card and its row.
_INTERRUPTED = "interrupted"
_ABANDONED = "its driver ended without recording a result; run the same command again to resume it"


@dataclass(frozen=True)
class TrainingRun:
    """A run that this process has locked: call `prepare`, `session` and, in the session, `run_workers`.

    Args:
        settings: of the hub.
        plan: what to train.
        snapshot: the dataset snapshot to train on.
        lock: the locked run.
        bar: show a progress bar.
    """

    settings: Settings
    plan: TrainingPlan
    snapshot: DatasetSnapshot
    lock: RunLock
    bar: bool

    @property
    def storage(self) -> Storage:
        """Storage of the run's files."""
        return model_cards.artifact_storage(self.settings, self.lock.model_id)

    def prepare(self, start: initial_weights.InitialWeights | None) -> None:
        """Write the plan and the initial weights, and mark abandoned runs as failed.

        Raises:
            StorageError: the lake cannot be written.
        """
        with self._entry_deleted_on_error():
            self.storage.write_json(PLAN, asdict(self.plan))
            if start:
                start.write(self.storage)
            mark_abandoned_runs(self.settings)
        if self.lock.finished_epochs is not None:
            print(
                f"resuming {self.lock.model_id} after epoch {self.lock.finished_epochs}: "
                f"an earlier run of the same command {self._how_it_ended()}",
                file=sys.stderr,
            )

    def _how_it_ended(self) -> str:
        """How the earlier run of this command ended, from the model's card."""
        try:
            card = model_cards.any_card(self.settings, self.lock.model_id)
        except UnknownModel:
            return "ended before it began to train"
        if card.state is State.FAILED and card.detail == _INTERRUPTED:
            return "was interrupted"
        if card.state is State.FAILED and card.detail != _ABANDONED:
            return f"failed: {card.detail}"
        return "was killed, or its machine stopped"

    @contextmanager
    def _entry_deleted_on_error(self) -> Iterator[None]:
        """Delete a new run's entry if its set-up fails: there is nothing to resume."""
        try:
            yield
        except LeaseLost:
            raise  # the entry may be another command's now
        except BaseException:
            if self.lock.finished_epochs is None:
                self.lock.delete_entry()
            raise

    @contextmanager
    def session(self, given: SparkSession | None) -> Iterator[SparkSession]:
        """Provide a session with enough executors and register the run.

        A session created here stops in the background after the block, after an exception at once.
        """
        with self._entry_deleted_on_error():
            preload.import_in_background("deltalake")  # while the JVM starts
            session = given or cluster.start_session(self.settings, self.plan.workers)
        try:
            with self._entry_deleted_on_error():
                wait_for_executors(session, self.plan.workers)
                self.lock.raise_if_lost()
                labels, resumed = self.snapshot.labels, self.lock.finished_epochs is not None
                model_rows.register_run(self.settings, self.lock.model_id, self.plan, labels, resumed)
                print(f"training {self.lock.model_id}", file=sys.stderr)  # for those who follow it by its id
            yield session
        except BaseException:
            if given is None:
                stop(session)
            raise
        if given is None:
            stop_in_background(session)

    def run_workers(self, session: SparkSession) -> tuple[RunState, ModelQuality]:
        """Run the workers until they are done and write the run's report; record a failure in the registry.

        Raises:
            ClusterTooSmall, TrainingFailed: as `cluster.run`.
            StorageError: metrics or plots cannot be written.
        """

        def task(address: tuple[str, int], authkey: bytes) -> WorkerTask:
            run, keep = self.lock.entry.run, self.settings.train.keep_checkpoints
            return WorkerTask(
                self.plan, self.lock.model_id, self.snapshot, self.storage, address, authkey, run, keep
            )

        limits = self.settings.train
        report = RunReport(self.storage, self.snapshot, self.plan, self.lock.model_id)
        with self.record_failure(), report:
            state = cluster.run(
                session,
                main,
                task,
                self.plan.workers,
                limits,
                self.bar,
                report.on_message,
                self.lock.raise_if_lost,
            )
            return state, report.quality()

    @contextmanager
    def record_failure(self) -> Iterator[None]:
        """Record in the registry why the block failed; a write error is ignored, it would hide the cause.

        After the loss of the lease nothing is recorded: another command may train the model now.
        """
        try:
            yield
        except LeaseLost:
            raise
        except BaseException as error:
            interrupted = isinstance(error, KeyboardInterrupt)
            detail = _INTERRUPTED if interrupted else str(error) or type(error).__name__
            with suppress(StorageError):
                model_rows.record_result(self.settings, self.lock.model_id, None, detail)
                if isinstance(error, Diverged):
                    self.lock.delete_entry()
            raise


def mark_abandoned_runs(settings: Settings) -> list[str]:
    """Mark runs whose driver ended without recording a result as failed.

    Returns:
        their model ids.
    """
    abandoned = resumption.newly_abandoned_runs(settings)
    for entry in abandoned:
        model_rows.record_result(settings, entry.model_id, None, _ABANDONED)
    return [entry.model_id for entry in abandoned]
