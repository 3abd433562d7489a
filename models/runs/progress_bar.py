"""Progress of a training on the driver: a bar on a terminal, lines in a log."""

import time
from typing import TextIO

from tqdm import tqdm

from models.messages import Disconnected, EpochEnded, Failed, Message, Started, Stepped, Working

_LINE_SECONDS = 30.0


def create_display(workers: int, quiet: bool, stream: TextIO) -> "ProgressBar | LogLines":
    """Create a progress bar for a terminal, or lines for a log; with `quiet`, only notes are written."""
    return ProgressBar(workers, stream) if stream.isatty() and not quiet else LogLines(quiet, stream)


class ProgressBar:
    """A progress bar with epoch, step, images/s, loss, accuracy and time left; it follows worker 0."""

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
        """Update the bar from a message."""
        if isinstance(message, Failed):
            self._bar.set_description_str(f"worker {message.worker} stopped")
        if message.worker != 0:
            return
        if isinstance(message, Started):
            self._steps = message.steps
            self._bar.reset(message.epochs * message.steps)
            self._move_to(message.resumed_from * message.steps, "first step")
        elif isinstance(message, Stepped):
            self._bar.set_postfix_str(
                f"{message.images_per_second * self._workers:,.0f} images/s, "
                f"loss {message.loss:.3f}, accuracy {message.accuracy:.3f}",
                refresh=False,
            )
            self._move_to((message.epoch - 1) * self._steps + message.step, f"epoch {message.epoch}")
        elif isinstance(message, EpochEnded):
            self._move_to(message.epoch * self._steps, f"epoch {message.epoch}")
        elif isinstance(message, Working):
            self._bar.set_description_str(message.what)

    def note(self, text: str) -> None:
        """Write a permanent line above the bar."""
        tqdm.write(text, file=self._stream)
        self._bar.set_description_str("restarting workers")

    def _move_to(self, step: int, description: str) -> None:
        self._bar.set_description_str(description, refresh=False)
        self._bar.n = step
        self._bar.refresh()

    def close(self) -> None:
        """Close the bar and leave it on the screen."""
        self._bar.close()


class LogLines:
    """Log lines: one for an epoch, at most every 30 s, and one for the last epoch."""

    def __init__(self, quiet: bool, stream: TextIO) -> None:
        self._quiet = quiet
        self._stream = stream
        self._epochs = 0
        self._due = 0.0

    def show(self, message: Message | Disconnected) -> None:
        """Write a line at the start of training and after an epoch."""
        if self._quiet or message.worker != 0:
            return
        if isinstance(message, Started):
            self._epochs = message.epochs
            resumed = f", resumed after epoch {message.resumed_from}" if message.resumed_from else ""
            self.note(f"training: {message.epochs} epochs of {message.steps} steps{resumed}")
        elif isinstance(message, EpochEnded):
            if time.monotonic() < self._due and message.epoch < self._epochs:
                return
            self._due = time.monotonic() + _LINE_SECONDS
            accuracy = message.validation_accuracy
            validated = "" if accuracy is None else f", {accuracy:.3f} in validation"
            self.note(
                f"epoch {message.epoch} of {self._epochs}: {message.images_per_second:,.0f} images/s, "
                f"loss {message.loss:.3f}, accuracy {message.accuracy:.3f}{validated}"
            )

    def note(self, text: str) -> None:
        """Write a line, even if `quiet`."""
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def close(self) -> None:
        """Do nothing; a log needs no closing."""
