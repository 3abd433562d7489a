"""How word of a training run gets from the workers to the driver and onto a progress bar."""

import secrets
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

from tqdm import tqdm

from models import messages
from models.messages import EpochEnded, Failed, Message, Started, Stepped, Working

STEP_SECONDS = 0.5  # between two messages about steps


class Reporter:
    """A worker's line to the driver."""

    def __init__(self, address: tuple[str, int], authkey: bytes) -> None:
        self._connection = Client(address, authkey=authkey)
        self._next_step = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def send(self, message: Message) -> None:
        """Tell the driver; a driver that has gone is noticed by Spark, not here."""
        with suppress(OSError):
            self._connection.send_bytes(messages.encode(message))

    def due(self) -> bool:
        """Whether it is time for another message about steps."""
        now = time.monotonic()
        if now < self._next_step:
            return False
        self._next_step = now + STEP_SECONDS
        return True


@dataclass(frozen=True)
class Heard:
    """A message and when it came (monotonic seconds)."""

    message: Message
    at: float


class Desk:
    """The driver's end: collects the messages of all workers in order of arrival."""

    def __init__(self, host: str) -> None:
        self.authkey = secrets.token_bytes(32)
        self._listener = Listener((host, 0), authkey=self.authkey, backlog=64)
        self._heard: SimpleQueue[Heard] = SimpleQueue()
        threading.Thread(target=self._accept, name="hub-desk", daemon=True).start()

    @property
    def port(self) -> int:
        """Where workers call."""
        address = self._listener.address
        assert isinstance(address, tuple)
        return int(address[1])

    def next(self, seconds: float) -> Heard | None:
        """The next message, or None if there is none within `seconds`."""
        try:
            return self._heard.get(timeout=seconds)
        except Empty:
            return None

    def close(self) -> None:
        """Take no more calls."""
        with suppress(OSError):
            self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except AuthenticationError:
                continue  # somebody else's call
            except (OSError, EOFError):
                if self._closed():
                    return
                continue
            threading.Thread(target=self._listen, args=(connection,), daemon=True).start()

    def _closed(self) -> bool:
        return getattr(self._listener, "_listener", None) is None

    def _listen(self, connection: Connection) -> None:
        # A worker that goes without a word is the cluster's business: Spark sees its process end.
        with suppress(EOFError, OSError, ValueError, TypeError, KeyError), connection:
            while True:
                self._heard.put(Heard(messages.decode(connection.recv_bytes()), time.monotonic()))


class Bar:
    """The driver's progress bar: epoch, step, images/s, loss, accuracy, time left. Worker 0 moves it."""

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

    def show(self, message: Message) -> None:
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

    def _moved(self, to: int, what: str) -> None:
        self._bar.set_description_str(what, refresh=False)
        self._bar.n = to
        self._bar.refresh()

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()
