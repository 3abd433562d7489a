"""The course of a training run on the driver: what is held, begun and told about it, however it ends."""

import importlib
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass

from pyspark.sql import SparkSession

from conf.settings import Settings
from lake.errors import StorageError
from lake.session import stop, stop_aside
from lake.snapshot import Snapshot
from lake.storage import Storage
from models import artifacts, cards, cluster, registry, resumption, starts
from models.errors import Diverged
from models.messages import EpochEnded, Gone, Message, Stepped
from models.plan import TrainingPlan, WorkerTask
from models.record import Record
from models.resumption import Claim
from models.training import main

PLAN = "plan.json"  # beside the artifacts


@dataclass(frozen=True)
class Course:
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
    claim: Claim
    bar: bool

    @property
    def storage(self) -> Storage:
        """Where its files go."""
        return cards.artifacts(self.settings, self.claim.model_id)

    def prepare(self, start: starts.Start | None) -> None:
        """Leave what the workers start from; a place that cannot be written is found here.

        Raises:
            StorageError: it cannot.
        """
        with self._without_a_row():
            self.storage.write_json(PLAN, asdict(self.plan))
            if start:
                start.write(self.storage)
            bury(self.settings)
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
            _loaded("deltalake")  # while the JVM starts
            session = given or cluster.start_session(self.settings, self.plan.workers)
        try:
            with self._without_a_row():
                cluster.require(session, self.plan.workers)
                labels, resumed = self.snapshot.labels, self.claim.epochs is not None
                registry.begin(self.settings, self.claim.model_id, self.plan, labels, resumed)
            yield session
        except BaseException:
            if given is None:
                stop(session)
            raise
        if given is None:
            stop_aside(session)

    def followed(self, session: SparkSession) -> Record:
        """Run the workers to their end and write the epochs' figures; the registry is told why they failed.

        Raises:
            ClusterTooSmall, TrainingFailed: as `cluster.run`.
            StorageError: the figures cannot be written.
        """
        loading: list[threading.Thread] = []
        epochs: dict[int, EpochEnded] = {}
        drawn: list[Future[None]] = []

        def draw() -> None:
            history = [epochs[epoch] for epoch in sorted(epochs)]
            artifacts.write_run(self.storage, self.snapshot.labels, history)

        def listener(message: Message | Gone) -> None:
            if isinstance(message, Stepped) and not loading:
                loading.append(_loaded("models.plots"))  # while the workers train
            if isinstance(message, EpochEnded):
                epochs[message.epoch] = message
                if message.epoch == self.plan.epochs:
                    drawn.append(pool.submit(draw))  # while the workers test and write the model

        def task(address: tuple[str, int], authkey: bytes) -> WorkerTask:
            run, keep = self.claim.entry.run, self.settings.train.keep_checkpoints
            return WorkerTask(
                self.plan, self.claim.model_id, self.snapshot, self.storage, address, authkey, run, keep
            )

        limits = self.settings.train
        with self.told(), ThreadPoolExecutor(1) as pool:
            record = cluster.run(session, main, task, self.plan.workers, limits, self.bar, listener)
            for done in drawn:
                done.result()
            return record

    @contextmanager
    def told(self) -> Iterator[None]:
        """The row says why the block failed, as far as it can be written: the cause is what counts."""
        try:
            yield
        except BaseException as error:
            interrupted = isinstance(error, KeyboardInterrupt)
            detail = "interrupted" if interrupted else str(error) or type(error).__name__
            with suppress(StorageError):
                registry.end(self.settings, self.claim.model_id, None, detail)
                if isinstance(error, Diverged):
                    self.claim.close()
            raise


def _loaded(module: str) -> threading.Thread:
    """Import something in the background that takes a while and is needed later."""
    thread = threading.Thread(target=importlib.import_module, args=(module,), daemon=True)
    thread.start()
    return thread


def bury(settings: Settings) -> list[str]:
    """Mark runs whose driver has gone without a word as failed.

    Returns:
        their ids.
    """
    found = resumption.found_dead(settings)
    for entry in found:
        detail = "its driver ended without a word; the same command goes on with it"
        registry.end(settings, entry.model_id, None, detail)
    return [entry.model_id for entry in found]
