"""Outages: a line between client and server that can be cut, and a broker that stops to answer."""

import os
import selectors
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class Line:
    """Forwards connections to an address, which may change; while it is cut, there are none.

    Args:
        target: host and port; None for nowhere.
    """

    def __init__(self, target: tuple[str, int] | None) -> None:
        self.target = target
        self.cuts = 0
        self._up = True
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self) -> None:
        """Break all connections, and accept no new ones."""
        self._up = False
        self.cuts += 1
        with self._lock:
            broken, self._open = self._open, set()
        for each in broken:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Accept connections again."""
        self._up = True

    def close(self) -> None:
        """End all connections for good."""
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        while self._listener.fileno() >= 0:
            with suppress(OSError):  # also of a client that gave up before it was accepted
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            if not self._up or self.target is None:
                return
            with suppress(OSError), socket.create_connection(self.target, timeout=10) as server:
                server.settimeout(None)
                with self._lock:
                    if not self._up:
                        return
                    self._open |= {client, server}
                _forward(client, server)


def _forward(one: socket.socket, other: socket.socket) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, one)
        while True:
            for key, _ in selector.select():
                source = key.fileobj
                assert isinstance(source, socket.socket)
                chunk = source.recv(65536)
                if not chunk:
                    return
                key.data.sendall(chunk)


@contextmanager
def stopped(supervisor: int) -> Iterator[None]:
    """The broker of a supervisor answers nobody while the block runs."""
    children = [
        int(pid)
        for thread in Path(f"/proc/{supervisor}/task").iterdir()
        for pid in (thread / "children").read_text().split()
    ]
    assert children, "the supervisor has no broker"
    for pid in children:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in children:
            os.kill(pid, signal.SIGCONT)
