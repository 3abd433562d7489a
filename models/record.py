"""What the driver knows of a training run."""

from dataclasses import dataclass, field

from models.messages import (
    Done,
    Embedded,
    EpochEnded,
    Failed,
    Message,
    Started,
    Stepped,
    Tested,
    Working,
    unpacked,
)
from models.processor import cpu_seconds
from models.verification import Embeddings


@dataclass
class Record:
    """What the workers told in the course of a run.

    Args:
        epochs: figures by epoch number.
        tested: test rows by worker.
        embedded: vectors by split and worker, of a model of embeddings.
        began: when the run was launched (monotonic seconds), `first_step` when a first step was done.
        resumed_from: finished epochs that the last attempt started from.
        used: processor time of the workers' processes that finished, by worker (seconds).
        used_before: of the driver's process when the run was launched.
        failure: the first cause, None if nobody failed.
    """

    workers: int
    began: float
    heard: float
    first_step: float | None = None
    last_epoch: float | None = None
    resumed_from: int = 0
    steps: int = 0
    batch: int = 0
    epochs: dict[int, EpochEnded] = field(default_factory=dict)
    tested: dict[int, Tested] = field(default_factory=dict)
    embedded: dict[tuple[str, int], Embedded] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    used: dict[int, float] = field(default_factory=dict)
    used_before: float = field(default_factory=cpu_seconds)
    failure: Failed | None = None

    def add(self, message: Message, at: float) -> None:
        """Take in a message."""
        self.heard = at
        match message:
            case Started(worker=0):
                self.resumed_from, self.steps, self.batch = message.resumed_from, message.steps, message.batch
            case Stepped():
                self.first_step = self.first_step or at
            case EpochEnded():
                self.epochs[message.epoch], self.last_epoch = message, at
            case Tested():
                self.tested[message.worker] = message
            case Embedded():
                self.embedded[message.split, message.worker] = message
            case Done():
                self.done.add(message.worker)
                self.used[message.worker] = message.cpu_seconds
            case Failed():
                # What a lost peer makes the others say is not the cause.
                if self.failure is None or (self.failure.lost_peer and not message.lost_peer):
                    self.failure = message
            case Started() | Working():
                pass

    def embeddings(self, split: str) -> Embeddings:
        """The vectors of a split, in the order of the workers."""
        return unpacked([self.embedded[key] for key in sorted(self.embedded) if key[0] == split])

    @property
    def cpu_seconds(self) -> float:
        """Of the workers' processes and, since the launch, of the driver's; not of JVMs."""
        return sum(self.used.values()) + cpu_seconds() - self.used_before

    @property
    def finished(self) -> bool:
        """Whether every worker has said that it is done."""
        return len(self.done) == self.workers
