"""How word of a training run gets from the workers to the driver."""

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener, answer_challenge, deliver_challenge
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

from models import messages
from models.messages import STEPPING, Alive, Disconnected, Done, Failed, Message, Registered, Working

STEP_SECONDS = 0.5  # between two messages about steps
BEAT_SECONDS = 1.0  # between two signs of life
KNOCK_SECONDS = 20  # for a caller to prove that it knows the key


class Reporter:
    """A worker's line to the driver, with a thread that says that the process lives.

    Args:
        address: host and port of the driver's desk.
        authkey: what the desk asks for.
        worker: its number.
        abandoned: called when the driver has gone or has given this attempt up.
    """

    def __init__(
        self,
        address: tuple[str, int],
        authkey: bytes,
        worker: int = 0,
        abandoned: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection = Client(address, authkey=authkey)
        self._worker, self._abandoned = worker, abandoned
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._driver_gone = threading.Event()
        self._moves, self._doing = 0, "starting"
        self._next_step = 0.0
        self.send(Registered(worker, os.getpid(), socket.gethostname()))
        threading.Thread(target=self._beat, name="hub-beat", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        with self._lock:
            self._connection.close()

    def send(self, message: Message) -> None:
        """Tell the driver; that it has gone is noticed by the thread."""
        with suppress(OSError), self._lock:
            self._connection.send_bytes(messages.encode(message))

    def work(self, what: str) -> None:
        """Say what begins now."""
        self._doing = what
        self.send(Working(self._worker, what))

    def stepped(self) -> None:
        """Count a step."""
        self._moves, self._doing = self._moves + 1, STEPPING

    def wait_for_the_end(self, seconds: float) -> None:
        """Wait until the driver has given the attempt up."""
        self._driver_gone.wait(seconds)

    def due(self) -> bool:
        """Whether it is time for another message about steps."""
        now = time.monotonic()
        if now < self._next_step:
            return False
        self._next_step = now + STEP_SECONDS
        return True

    def _beat(self) -> None:
        while not self._closed.wait(BEAT_SECONDS):
            self.send(Alive(self._worker, self._moves, self._doing))
            try:
                with self._lock:
                    gone = self._connection.poll()  # the driver says nothing: there is only its end to read
            except OSError:
                gone = True
            if gone and not self._closed.is_set():
                self._driver_gone.set()
                self._abandoned()
                return


@dataclass(frozen=True)
class ReceivedMessage:
    """A message and when it came (monotonic seconds)."""

    message: Message | Disconnected
    at: float


class MessageServer:
    """The driver's end: collects the messages of all workers in order of arrival."""

    def __init__(self, host: str) -> None:
        self.authkey = secrets.token_bytes(32)
        # Callers prove themselves in threads of their own: one that says nothing must not keep others out.
        self._listener = Listener((host, 0), backlog=64)
        address = self._listener.address
        assert isinstance(address, tuple)
        self._address = str(address[0]), int(address[1])
        self._heard: SimpleQueue[ReceivedMessage] = SimpleQueue()
        self._lock, self._closed = threading.Lock(), False
        self._connections: set[Connection] = set()
        threading.Thread(target=self._accept, name="hub-desk", daemon=True).start()

    @property
    def port(self) -> int:
        """Where workers call."""
        return self._address[1]

    def next(self, seconds: float) -> ReceivedMessage | None:
        """The next message, or None if there is none within `seconds`."""
        try:
            return self._heard.get(timeout=seconds)
        except Empty:
            return None

    def close(self) -> None:
        """Take no more calls and hang up, which makes workers that still run end."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            connections = list(self._connections)
        # A listener that waits for a call keeps its socket open until one comes.
        with suppress(OSError), socket.create_connection(self._address, timeout=1):
            pass
        with suppress(OSError):
            self._listener.close()
        for connection in connections:
            _hang_up(connection)

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except (OSError, EOFError):
                if self._closed:
                    return
                continue
            with self._lock:
                if self._closed:
                    connection.close()
                    return
                self._connections.add(connection)
            threading.Thread(target=self._listen, args=(connection,), name="hub-desk", daemon=True).start()

    def _listen(self, connection: Connection) -> None:
        worker, ended = None, False
        try:
            self._check(connection)
            while True:
                message = messages.decode(connection.recv_bytes())
                worker = message.worker
                ended = ended or isinstance(message, Done | Failed)
                self._heard.put(ReceivedMessage(message, time.monotonic()))
        except (AuthenticationError, EOFError, OSError, ValueError, TypeError, KeyError):
            if worker is not None and not ended and not self._closed:
                self._heard.put(ReceivedMessage(Disconnected(worker), time.monotonic()))
        finally:
            with self._lock:
                self._connections.discard(connection)
            with suppress(OSError):
                connection.close()

    def _check(self, connection: Connection) -> None:
        """Let in who knows the key, and prove that this end does."""
        hang_up = threading.Timer(KNOCK_SECONDS, _hang_up, (connection,))
        hang_up.daemon = True
        hang_up.start()
        try:
            deliver_challenge(connection, self.authkey)
            answer_challenge(connection, self.authkey)
        finally:
            hang_up.cancel()


def _hang_up(connection: Connection) -> None:
    """End a connection that another thread may be reading from."""
    with suppress(OSError, ValueError), socket.socket(fileno=os.dup(connection.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)
