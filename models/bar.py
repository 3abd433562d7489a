"""The driver's progress bar."""

import sys

from tqdm import tqdm

from models.messages import EpochEnded, Failed, Gone, Message, Started, Stepped, Working


class Bar:
    """A progress bar: epoch, step, images/s, loss, accuracy, time left. Worker 0 moves it."""

    def __init__(self, workers: int, shown: bool) -> None:
        self._workers = workers
        self._steps = 0
        self._bar = tqdm(
            total=0,
            disable=not shown,
            unit="step",
            desc="starting workers",
            bar_format="{desc} {bar} {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]",
        )

    def show(self, message: Message | Gone) -> None:
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
        """Say something that stays, above the bar; also where no bar is shown."""
        tqdm.write(text, file=sys.stderr)
        self._bar.set_description_str("starting workers again")

    def _moved(self, to: int, what: str) -> None:
        self._bar.set_description_str(what, refresh=False)
        self._bar.n = to
        self._bar.refresh()

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()
