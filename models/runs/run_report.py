"""Report files of a training run: plots and evaluation, written on the driver while the workers continue."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from lake.snapshot import DatasetSnapshot, Split
from lake.storage import Storage
from models import preload
from models.errors import TrainingFailed
from models.evaluation import artifacts
from models.evaluation.metrics import Evaluation, evaluate_predictions
from models.evaluation.retrieval import evaluate_retrieval
from models.messages import Disconnected, Embedded, EpochEnded, Message, Stepped, Tested
from models.nets.verification import Embeddings, Verification, verify
from models.plan import TrainingPlan
from models.runs.live_progress import LiveProgress
from models.runs.run_state import RunState


@dataclass(frozen=True)
class ModelQuality:
    """Test results of a run's model.

    Args:
        evaluation: on the test split; of nearest neighbours for embeddings.
        verification: of pairs of test pictures, for embeddings only.
    """

    evaluation: Evaluation
    verification: Verification | None = None

    @classmethod
    def of(cls, state: RunState, plan: TrainingPlan, snapshot: DatasetSnapshot) -> Self:
        """Evaluate the workers' predictions or embeddings."""
        labels = snapshot.labels
        if plan.objective == "triplet":
            train, validation, test = (state.embeddings(split) for split in Split)
            gallery = None if snapshot.split_by_label else Embeddings.join(train, validation)
            return cls(evaluate_retrieval(labels, test, gallery), verify(validation, test, plan.seed))
        return cls(evaluate_predictions(labels, [state.tested[worker] for worker in sorted(state.tested)]))


class RunReport:
    """Writes a run's files that need no TensorFlow, and evaluates its test results.

    It plots the epochs while the workers test, and the test results while they write the model.

    Args:
        storage: storage of the run's files.
        snapshot: the dataset snapshot.
        plan: of the run.
        name: of the model, for titles.
    """

    def __init__(self, storage: Storage, snapshot: DatasetSnapshot, plan: TrainingPlan, name: str) -> None:
        self._storage, self._snapshot, self._plan, self._name = storage, snapshot, plan, name
        self._pool = ThreadPoolExecutor(1, "hub-report")
        self._progress = LiveProgress(storage, plan.epochs, plan.workers, self._pool.submit)
        self._curves: list[Future[None]] = []
        self._quality: Future[ModelQuality] | None = None
        self._importing = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def on_message(self, message: Message | Disconnected, state: RunState) -> None:
        """Start to write the files whose data is complete, and how far the run is."""
        self._progress.on_message(message, state)
        if isinstance(message, Stepped) and not self._importing:
            self._importing = True
            preload.import_in_background("models.evaluation.plots")  # while the workers train
        if isinstance(message, Stepped) and (message.epoch, message.step) == (self._plan.epochs, 1):
            preload.prefetch_libraries()
        if isinstance(message, EpochEnded) and message.epoch == self._plan.epochs:
            history = [state.epochs[epoch] for epoch in sorted(state.epochs)]
            self._curves.append(
                self._pool.submit(artifacts.write_run, self._storage, self._snapshot.labels, history)
            )
        if isinstance(message, Tested | Embedded) and state.all_tested:
            # A copy, because another attempt would clear the state's test results.
            copy = replace(state, tested=dict(state.tested), embedded=dict(state.embedded))
            self._quality = self._pool.submit(self._evaluate, copy)

    def _evaluate(self, state: RunState) -> ModelQuality:
        quality = ModelQuality.of(state, self._plan, self._snapshot)
        artifacts.write_evaluation(self._storage, quality.evaluation, self._snapshot, self._name)
        return quality

    def quality(self) -> ModelQuality:
        """Wait until all files are written and return the test results.

        Raises:
            StorageError: a file could not be written.
            TrainingFailed: the workers ended without test results.
        """
        for written in self._curves:
            written.result()
        if self._quality is None:
            raise TrainingFailed(f"the workers of {self._name} ended without test results")
        return self._quality.result()
