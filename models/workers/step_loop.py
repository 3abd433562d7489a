"""The steps of an epoch: starts them, reads their figures now and then, and measures where the time goes."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import Diverged
from models.messages import Stepped
from models.pictures.input_pipeline import WaitTimer
from models.pictures.inputs import BatchSchedule
from models.workers.message_channel import Reporter

READ_SECONDS = 0.25  # of steps between two readings: the device idles while figures are read
ADVICE = "try a lower --learning-rate"


@dataclass
class ReadingPace:
    """How many steps are started before their figures are read, which waits until they are done.

    A GPU computes while the next steps are being started, but only up to a reading. The number doubles until
    the steps between two readings take `READ_SECONDS`. Slower steps are read one by one.
    """

    steps: int = 1

    def update(self, steps: int, seconds: float) -> None:
        """Adapt the number to the time that this many steps took."""
        fitting = int(READ_SECONDS * steps / seconds) if seconds > 0 else self.steps
        self.steps = max(1, min(2 * self.steps, fitting))


@dataclass
class EpochFigures:
    """What the steps of an epoch gave on this worker.

    Args:
        loss, correct: sums over the pictures.
        pictures: trained on.
        seconds: from the first step to the last.
        waited: part of them spent waiting for input.
    """

    loss: float = 0.0
    correct: float = 0.0
    pictures: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    @property
    def sums(self) -> NDArray[np.float64]:
        """Loss, correct answers, pictures, and the share of the time waited: to be summed over workers."""
        return np.array([self.loss, self.correct, self.pictures, self.waited / self.seconds])


@dataclass(frozen=True)
class StepLoop:
    """Runs the steps of epochs.

    Args:
        step: trains on a batch and returns its figures, a tensor (2,): sum of losses, correct answers.
        schedule: steps and batch size.
        number: of the worker.
        reporter: told of the steps.
        pace: kept from epoch to epoch.
    """

    step: Callable[..., Any]
    schedule: BatchSchedule
    number: int
    reporter: Reporter
    pace: ReadingPace = field(default_factory=ReadingPace)

    def run(self, epoch: int, batches: Iterator[Any]) -> EpochFigures:
        """Train for an epoch.

        Raises:
            Diverged: the loss is not finite.
        """
        found, unread = EpochFigures(), list[Any]()
        began = read_at = time.monotonic()
        timed = WaitTimer(islice(batches, self.schedule.steps))
        for number, batch in enumerate(timed, start=1):
            unread.append(self.step(*batch))
            if len(unread) < self.pace.steps and number not in (1, self.schedule.steps):
                continue
            self._read(found, unread, epoch)
            now = time.monotonic()
            if number > 1:  # the first step may trace and compile
                self.pace.update(len(unread), now - read_at)
            read_at = now
            unread.clear()
            if number in (1, self.schedule.steps) or self.reporter.step_message_due():
                rate = found.pictures / (now - began)
                loss, correct = found.loss / found.pictures, found.correct / found.pictures
                self.reporter.send(Stepped(self.number, epoch, number, rate, loss, correct))
        found.seconds, found.waited = time.monotonic() - began, timed.seconds
        return found

    def _read(self, found: EpochFigures, unread: list[Any], epoch: int) -> None:
        """Add the figures of steps; one transfer for all, added one by one, so that sums are repeatable."""
        import tensorflow as tf

        for loss, correct in tf.stack(unread).numpy().tolist():
            found.loss += loss
            found.correct += correct
            found.pictures += self.schedule.batch
            self.reporter.count_step()
        if not np.isfinite(found.loss):
            raise Diverged(f"the loss is {found.loss} in epoch {epoch}; {ADVICE}")
