"""State of a training run on the driver, built from the workers' messages."""

from dataclasses import dataclass, field

from lake.snapshot import Split
from models.cpu_time import cpu_seconds
from models.messages import (
    Disconnected,
    Done,
    Embedded,
    EpochEnded,
    Failed,
    Message,
    Registered,
    Started,
    Stepped,
    Tested,
    unpack_embeddings,
)
from models.nets.verification import Embeddings
from models.workers.worker_failures import FailureKind


@dataclass
class RunState:
    """State of a training run over all its attempts.

    Args:
        workers: number of workers.
        began: when the run was launched (monotonic seconds).
        first_step: when the first step of any worker was done (monotonic seconds).
        last_step: when the newest step was done (monotonic seconds).
        restarts: how often all workers were restarted.
        resumed_from: finished epochs that the last attempt started from.
        steps, batch: steps per epoch; pictures per worker and step.
        epochs: metrics by epoch number.
        tested: test predictions by worker.
        embedded: embeddings by split and worker.
        done: workers that have finished.
        processes: the workers' processes in this attempt.
        worker_cpu_seconds: CPU time of the finished workers' processes, by worker.
        driver_cpu_before: CPU time of the driver's process when the run was launched (seconds).
        failure: the first cause of this attempt's failure; None if no worker failed.
    """

    workers: int
    began: float
    first_step: float | None = None
    last_step: float | None = None
    restarts: int = 0
    resumed_from: int = 0
    steps: int = 0
    batch: int = 0
    epochs: dict[int, EpochEnded] = field(default_factory=dict)
    tested: dict[int, Tested] = field(default_factory=dict)
    embedded: dict[tuple[str, int], Embedded] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    processes: dict[int, Registered] = field(default_factory=dict)
    worker_cpu_seconds: dict[int, float] = field(default_factory=dict)
    driver_cpu_before: float = field(default_factory=cpu_seconds)
    failure: Failed | None = None

    def add(self, message: Message | Disconnected, at: float) -> None:
        """Update the state from a message received at `at` (monotonic seconds)."""
        match message:
            case Started(worker=0):
                self.resumed_from, self.steps, self.batch = message.resumed_from, message.steps, message.batch
            case Stepped():
                self.first_step = self.first_step or at
                self.last_step = at
            case EpochEnded():
                self.epochs[message.epoch] = message
            case Tested():
                self.tested[message.worker] = message
            case Embedded():
                self.embedded[message.split, message.worker] = message
            case _:
                self._add_process_event(message)

    def _add_process_event(self, message: Message | Disconnected) -> None:
        match message:
            case Registered():
                self.processes[message.worker] = message
            case Done():
                self.done.add(message.worker)
                self.worker_cpu_seconds[message.worker] = message.cpu_seconds
            case Failed():
                self._add_failure(message)
            case Disconnected():
                process = self.describe_process(message.worker)
                cause = f"{process} ended without an error message: killed, or out of memory"
                self._add_failure(Failed(message.worker, cause, FailureKind.LOST))
            case _:
                pass

    def _add_failure(self, failure: Failed) -> None:
        # A later failure replaces two kinds: a peer's error is only a consequence, and Spark's report of a
        # lost worker does not say which worker it was.
        first = self.failure
        spark_report = first and first.kind == FailureKind.LOST and first.worker < 0
        vague = first and (first.kind == FailureKind.PEER or spark_report)
        if first is None or (vague and failure.kind != FailureKind.PEER):
            self.failure = failure

    def describe_process(self, worker: int) -> str:
        """Describe a worker's process for error messages."""
        process = self.processes.get(worker)
        return f"its process (pid {process.pid} on {process.host})" if process else "its process"

    def restart(self) -> None:
        """Count a restart and clear the state of the attempt; finished epochs stay."""
        self.restarts += 1
        self.failure = None
        for attempt_state in (self.tested, self.embedded, self.done, self.processes):
            attempt_state.clear()

    def embeddings(self, split: str) -> Embeddings:
        """The embeddings of a split, in the order of the workers."""
        return unpack_embeddings([self.embedded[key] for key in sorted(self.embedded) if key[0] == split])

    @property
    def all_tested(self) -> bool:
        """Whether every worker has sent its test results, which it sends after all other results."""
        embedded = {worker for split, worker in self.embedded if split == Split.TEST}
        return len(self.tested or embedded) == self.workers

    @property
    def cpu_seconds(self) -> float:
        """CPU time of the workers' processes and, since the launch, of the driver's; without JVMs."""
        return sum(self.worker_cpu_seconds.values()) + cpu_seconds() - self.driver_cpu_before

    @property
    def finished(self) -> bool:
        """Whether every worker has sent `Done`."""
        return len(self.done) == self.workers
