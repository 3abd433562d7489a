"""What the driver shows of a training: a bar on a terminal, a line now and then in a log."""

import time
from typing import TextIO

from tqdm import tqdm

from models.messages import Disconnected, EpochEnded, Failed, Message, Started, Stepped, Working

_LINE_SECONDS = 30.0


def shown(workers: int, quiet: bool, stream: TextIO) -> "Bar | Lines":
    """A bar where a person looks on, lines where a log is written; where it is quiet only notes are shown."""
    return Bar(workers, stream) if stream.isatty() and not quiet else Lines(quiet, stream)


class Bar:
    """A progress bar: epoch, step, images/s, loss, accuracy, time left. Worker 0 moves it."""

    def __init__(self, workers: int, stream: TextIO) -> None:
        self._workers = workers
        self._steps = 0
        self._stream = stream
        self._bar = tqdm(
            total=0,
            file=stream,
            unit="step",
            desc="starting workers",
            bar_format="{desc} {bar} {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]",
        )

    def show(self, message: Message | Disconnected) -> None:
        """Move on by a message."""
        if isinstance(message, Failed):
            self._bar.set_description_str(f"worker {message.worker} stopped")
        if message.worker != 0:
            return
        if isinstance(message, Started):
            self._steps = message.steps
            self._bar.reset(message.epochs * message.steps)
            self._moved(message.resumed_from * message.steps, "first step")
        elif isinstance(message, Stepped):
            self._bar.set_postfix_str(
                f"{message.images_per_second * self._workers:,.0f} images/s, "
                f"loss {message.loss:.3f}, accuracy {message.accuracy:.3f}",
                refresh=False,
            )
            self._moved((message.epoch - 1) * self._steps + message.step, f"epoch {message.epoch}")
        elif isinstance(message, EpochEnded):
            self._moved(message.epoch * self._steps, f"epoch {message.epoch}")
        elif isinstance(message, Working):
            self._bar.set_description_str(message.what)

    def note(self, text: str) -> None:
        """Say something that stays, above the bar."""
        tqdm.write(text, file=self._stream)
        self._bar.set_description_str("starting workers again")

    def _moved(self, to: int, what: str) -> None:
        self._bar.set_description_str(what, refresh=False)
        self._bar.n = to
        self._bar.refresh()

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()


class Lines:
    """A line for an epoch, at most every 30 s, and for the last one."""

    def __init__(self, quiet: bool, stream: TextIO) -> None:
        self._quiet = quiet
        self._stream = stream
        self._epochs = 0
        self._due = 0.0

    def show(self, message: Message | Disconnected) -> None:
        """Write a line where the message is worth one."""
        if self._quiet or message.worker != 0:
            return
        if isinstance(message, Started):
            self._epochs = message.epochs
            behind = f", behind the first {message.resumed_from}" if message.resumed_from else ""
            self.note(f"training: {message.epochs} epochs of {message.steps} steps{behind}")
        elif isinstance(message, EpochEnded):
            if time.monotonic() < self._due and message.epoch < self._epochs:
                return
            self._due = time.monotonic() + _LINE_SECONDS
            measured = message.validation_accuracy
            validated = "" if measured is None else f", {measured:.3f} in validation"
            self.note(
                f"epoch {message.epoch} of {self._epochs}: {message.images_per_second:,.0f} images/s, "
                f"loss {message.loss:.3f}, accuracy {message.accuracy:.3f}{validated}"
            )

    def note(self, text: str) -> None:
        """Write a line, also where it is quiet."""
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def close(self) -> None:
        """Nothing is left to do."""
