"""Progress of a run that others can read while it trains: a small file beside the model's card.

A page or another machine reads it; the run itself never does.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from lake.errors import StorageError
from lake.storage import Storage
from models.evaluation import artifacts
from models.messages import Disconnected, EpochEnded, Message, Started, Stepped, Working
from models.runs.run_state import RunState

PROGRESS = "progress.json"
_SECONDS = 2.0  # between writes of steps

Submit = Callable[..., Future[Any]]


class LiveProgress:
    """Writes how far a run is, and the history of its epochs, after each epoch and every two seconds.

    A write that fails is left out: a training must not end because nobody can watch it.

    Args:
        storage: of the run's files.
        epochs, workers: of the plan.
        submit: runs a function in another thread, one at a time.
    """

    def __init__(self, storage: Storage, epochs: int, workers: int, submit: Submit) -> None:
        self._storage, self._epochs, self._workers, self._submit = storage, epochs, workers, submit
        self._written = 0.0
        self._values: dict[str, Any] = {
            "epoch": 0,
            "epochs": epochs,
            "step": 0,
            "steps": 0,
            "doing": "starting",
        }

    def on_message(self, message: Message | Disconnected, state: RunState) -> None:
        """Take a message of a worker; the state is that after it."""
        if message.worker != 0:
            return
        match message:
            case Started():
                self._values |= {"steps": message.steps, "epoch": message.resumed_from, "doing": "training"}
            case Stepped():
                rate = round(message.images_per_second * self._workers, 1)
                self._values |= {"epoch": message.epoch, "step": message.step, "images_per_second": rate}
                self._values |= {"loss": message.loss, "accuracy": message.accuracy, "doing": "training"}
                if time.monotonic() - self._written < _SECONDS:
                    return
            case EpochEnded():
                self._values |= {"epoch": message.epoch, "step": self._values["steps"]}
                history = [state.epochs[epoch] for epoch in sorted(state.epochs)]
                self._submit(_attempt, lambda: artifacts.write_history(self._storage, history))
            case Working():
                self._values["doing"] = message.what
            case _:
                return
        self._written = time.monotonic()
        values = dict(self._values)
        self._submit(_attempt, lambda: self._storage.write_json(PROGRESS, values))


def _attempt(write: Callable[[], None]) -> None:
    with suppress(StorageError):
        write()
