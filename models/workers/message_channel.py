"""Message channel from training workers to the driver: authenticated sockets with heartbeats."""

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

STEP_MESSAGE_SECONDS = 0.5  # between two messages about steps
HEARTBEAT_SECONDS = 1.0  # between two heartbeats
AUTHENTICATION_SECONDS = 20  # for a client to prove that it knows the key


class Reporter:
    """A worker's connection to the driver, with a thread that sends heartbeats.

    Args:
        address: host and port of the driver's message server.
        authkey: key that the message server asks for.
        worker: number of the worker.
        on_abandoned: called by the thread when the driver closes the connection, because it has ended or has
            given up this attempt.
    """

    def __init__(
        self,
        address: tuple[str, int],
        authkey: bytes,
        worker: int = 0,
        on_abandoned: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection = Client(address, authkey=authkey)
        self._worker, self._on_abandoned = worker, on_abandoned
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._abandoned = threading.Event()
        self._moves, self._doing = 0, "starting"
        self._next_step_message = 0.0
        self.send(Registered(worker, os.getpid(), socket.gethostname()))
        threading.Thread(target=self._send_heartbeats, name="hub-heartbeats", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        with self._lock:
            self._connection.close()

    def send(self, message: Message) -> None:
        """Send a message; a closed connection is ignored here and noticed by the heartbeat thread."""
        with suppress(OSError), self._lock:
            self._connection.send_bytes(messages.encode(message))

    def start_phase(self, name: str) -> None:
        """Report the start of a phase without steps."""
        self._doing = name
        self.send(Working(self._worker, name))

    def count_step(self) -> None:
        """Count a training step for the heartbeats."""
        self._moves, self._doing = self._moves + 1, STEPPING

    def wait_until_abandoned(self, seconds: float) -> None:
        """Wait until the driver has closed the connection."""
        self._abandoned.wait(seconds)

    def step_message_due(self) -> bool:
        """Whether to send another message about steps now; True at most every `STEP_MESSAGE_SECONDS`."""
        now = time.monotonic()
        if now < self._next_step_message:
            return False
        self._next_step_message = now + STEP_MESSAGE_SECONDS
        return True

    def _send_heartbeats(self) -> None:
        while not self._closed.wait(HEARTBEAT_SECONDS):
            self.send(Alive(self._worker, self._moves, self._doing))
            try:
                with self._lock:
                    closed = self._connection.poll()  # the driver sends nothing: only EOF makes it readable
            except OSError:
                closed = True
            if closed and not self._closed.is_set():
                self._abandoned.set()
                self._on_abandoned()
                return


@dataclass(frozen=True)
class ReceivedMessage:
    """A message and when the driver received it (monotonic seconds)."""

    message: Message | Disconnected
    at: float


class MessageServer:
    """The driver's end of the channel: queues the messages of all workers in order of arrival."""

    def __init__(self, host: str) -> None:
        self.authkey = secrets.token_bytes(32)
        # Without an authkey: each client is authenticated in its own thread, so a silent one blocks no other.
        self._listener = Listener((host, 0), backlog=64)
        address = self._listener.address
        assert isinstance(address, tuple)
        self._address = str(address[0]), int(address[1])
        self._received: SimpleQueue[ReceivedMessage] = SimpleQueue()
        self._lock, self._closed = threading.Lock(), False
        self._connections: set[Connection] = set()
        threading.Thread(target=self._accept, name="hub-messages", daemon=True).start()

    @property
    def port(self) -> int:
        """Port that workers connect to."""
        return self._address[1]

    def receive(self, seconds: float) -> ReceivedMessage | None:
        """Return the next message, or None if there is none within `seconds`."""
        try:
            return self._received.get(timeout=seconds)
        except Empty:
            return None

    def close(self) -> None:
        """Stop listening and close all connections, which makes running workers exit."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            connections = list(self._connections)
        # A pending `accept` keeps the socket open; this connection ends it.
        with suppress(OSError), socket.create_connection(self._address, timeout=1):
            pass
        with suppress(OSError):
            self._listener.close()
        for connection in connections:
            _shut_down(connection)

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
            threading.Thread(
                target=self._receive_all, args=(connection,), name="hub-messages", daemon=True
            ).start()

    def _receive_all(self, connection: Connection) -> None:
        worker, ended = None, False
        try:
            self._authenticate(connection)
            while True:
                message = messages.decode(connection.recv_bytes())
                worker = message.worker
                ended = ended or isinstance(message, Done | Failed)
                self._received.put(ReceivedMessage(message, time.monotonic()))
        except (AuthenticationError, EOFError, OSError, ValueError, TypeError, KeyError):
            if worker is not None and not ended and not self._closed:
                self._received.put(ReceivedMessage(Disconnected(worker), time.monotonic()))
        finally:
            with self._lock:
                self._connections.discard(connection)
            with suppress(OSError):
                connection.close()

    def _authenticate(self, connection: Connection) -> None:
        """Authenticate both ends with the key; close the connection after `AUTHENTICATION_SECONDS`."""
        timeout = threading.Timer(AUTHENTICATION_SECONDS, _shut_down, (connection,))
        timeout.daemon = True
        timeout.start()
        try:
            deliver_challenge(connection, self.authkey)
            answer_challenge(connection, self.authkey)
        finally:
            timeout.cancel()


def _shut_down(connection: Connection) -> None:
    """Shut down the socket of a connection; a thread that reads from it gets EOF."""
    with suppress(OSError, ValueError), socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)
