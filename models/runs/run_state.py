"""What the driver knows of a training run."""

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
    unpacked,
)
from models.nets.verification import Embeddings
from models.workers.worker_failures import Kind


@dataclass
class RunState:
    """What the workers told in the course of a run.

    Args:
        workers: how many there are.
        began: when the run was launched (monotonic seconds), `first_step` when a first step was done,
            `last_step` when the newest was.
        epochs: figures by epoch number.
        tested: test rows by worker.
        embedded: vectors by split and worker, of a model of embeddings.
        processes: of the workers of this attempt.
        restarts: how often the run was started again.
        resumed_from: finished epochs that the last attempt started from.
        used: processor time of the workers' processes that finished, by worker (seconds).
        used_before: of the driver's process when the run was launched.
        failure: the first cause of this attempt's end, None if nobody failed.
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
    used: dict[int, float] = field(default_factory=dict)
    used_before: float = field(default_factory=cpu_seconds)
    failure: Failed | None = None

    def add(self, message: Message | Disconnected, at: float) -> None:
        """Take in a message."""
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
                self._add_process(message)

    def _add_process(self, message: Message | Disconnected) -> None:
        match message:
            case Registered():
                self.processes[message.worker] = message
            case Done():
                self.done.add(message.worker)
                self.used[message.worker] = message.cpu_seconds
            case Failed():
                self._add_failure(message)
            case Disconnected():
                cause = f"{self.process(message.worker)} ended without a word: killed, or out of memory"
                self._add_failure(Failed(message.worker, cause, Kind.LOST))
            case _:
                pass

    def _add_failure(self, failure: Failed) -> None:
        # What a lost peer makes the others say is not the cause. Spark may be the first to know that a
        # worker is lost, but not which one.
        known = self.failure
        vague = known and (known.kind == Kind.PEER or (known.kind == Kind.LOST and known.worker < 0))
        if known is None or (vague and failure.kind != Kind.PEER):
            self.failure = failure

    def process(self, worker: int) -> str:
        """A worker's process, for people."""
        found = self.processes.get(worker)
        return f"its process (pid {found.pid} on {found.host})" if found else "its process"

    def start_again(self) -> None:
        """Forget what belongs to one attempt; finished epochs stay."""
        self.restarts += 1
        self.failure = None
        for kept in (self.tested, self.embedded, self.done, self.processes):
            kept.clear()

    def embeddings(self, split: str) -> Embeddings:
        """The vectors of a split, in the order of the workers."""
        return unpacked([self.embedded[key] for key in sorted(self.embedded) if key[0] == split])

    @property
    def tested_all(self) -> bool:
        """Whether every worker has told what it answers to the test split, the last thing that it tells."""
        embedded = {worker for split, worker in self.embedded if split == Split.TEST}
        return len(self.tested or embedded) == self.workers

    @property
    def cpu_seconds(self) -> float:
        """Of the workers' processes and, since the launch, of the driver's; not of JVMs."""
        return sum(self.used.values()) + cpu_seconds() - self.used_before

    @property
    def finished(self) -> bool:
        """Whether every worker has said that it is done."""
        return len(self.done) == self.workers
