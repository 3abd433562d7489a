"""What a training run shows, written on the driver as soon as it is known, while the workers go on."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from lake.snapshot import Snapshot, Split
from lake.storage import Storage
from models import preload
from models.errors import TrainingFailed
from models.evaluation import artifacts
from models.evaluation.metrics import Evaluation, evaluate_retrieval, evaluate_shares
from models.messages import Disconnected, Embedded, EpochEnded, Message, Stepped, Tested
from models.nets.verification import Verification, verify
from models.plan import TrainingPlan
from models.runs.run_state import RunState


@dataclass(frozen=True)
class Judgement:
    """How good a run's model is.

    Args:
        evaluation: on the test split; of nearest neighbours for embeddings.
        verification: of pairs of test pictures, for embeddings.
    """

    evaluation: Evaluation
    verification: Verification | None = None

    @classmethod
    def of(cls, record: RunState, plan: TrainingPlan, labels: tuple[str, ...]) -> Self:
        """What the workers answered, judged."""
        if plan.objective == "triplet":
            known, test = record.embeddings(Split.VALIDATION), record.embeddings(Split.TEST)
            return cls(evaluate_retrieval(labels, test), verify(known, test, plan.seed))
        return cls(evaluate_shares(labels, [record.tested[worker] for worker in sorted(record.tested)]))


class Report:
    """Files of a run that need no TensorFlow, and its judgement.

    Epochs are drawn while the workers test, the test split while they write the model.

    Args:
        storage: rooted at the run's files.
        snapshot: trained on.
        plan: of the run.
        name: of the model, for titles.
    """

    def __init__(self, storage: Storage, snapshot: Snapshot, plan: TrainingPlan, name: str) -> None:
        self._storage, self._snapshot, self._plan, self._name = storage, snapshot, plan, name
        self._pool = ThreadPoolExecutor(1, "hub-report")
        self._drawn: list[Future[None]] = []
        self._judged: Future[Judgement] | None = None
        self._loading = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def hear(self, message: Message | Disconnected, record: RunState) -> None:
        """Begin what can be written now."""
        if isinstance(message, Stepped) and not self._loading:
            self._loading = True
            preload.import_in_background("models.evaluation.plots")  # while the workers train
        if isinstance(message, Stepped) and (message.epoch, message.step) == (self._plan.epochs, 1):
            preload.prefetch_libraries()
        if isinstance(message, EpochEnded) and message.epoch == self._plan.epochs:
            history = [record.epochs[epoch] for epoch in sorted(record.epochs)]
            self._drawn.append(
                self._pool.submit(artifacts.write_run, self._storage, self._snapshot.labels, history)
            )
        if isinstance(message, Tested | Embedded) and record.tested_all:
            # Another attempt would empty the record.
            kept = replace(record, tested=dict(record.tested), embedded=dict(record.embedded))
            self._judged = self._pool.submit(self._judge, kept)

    def _judge(self, record: RunState) -> Judgement:
        judgement = Judgement.of(record, self._plan, self._snapshot.labels)
        artifacts.write_evaluation(self._storage, judgement.evaluation, self._snapshot, self._name)
        return judgement

    def judgement(self) -> Judgement:
        """Of the run, once everything is written.

        Raises:
            StorageError: something could not be.
            TrainingFailed: the workers ended without an answer.
        """
        for drawn in self._drawn:
            drawn.result()
        if self._judged is None:
            raise TrainingFailed(f"the workers of {self._name} ended without having been tested")
        return self._judged.result()
