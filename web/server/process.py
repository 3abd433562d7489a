"""Runs the application in this process until it is told to stop."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from web.server import log
from web.server.errors import ServerError

_STOP_SECONDS = 10  # for requests that are running when the server is stopped
_BACKLOG = 1024


def listen(host: str, port: int) -> socket.socket:
    """Listen on an address; port 0 takes a free port.

    Raises:
        ServerError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is named; without it an answer waits 40 ms for Nagle.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        raise ServerError(
            f"cannot listen on {host} port {port}: {error}; set HUB__WEB__HOST and HUB__WEB__PORT "
            "(0 takes a free port)"
        ) from None
    return listener


class Server(uvicorn.Server):
    """A server that tells its application when it begins to stop, so that endless answers end.

    Args:
        app: the application.
        listener: a socket that listens.
        certificate: files of the private key and the chain, for HTTPS; None for HTTP.
    """

    def __init__(
        self, app: FastAPI, listener: socket.socket, certificate: tuple[Path, Path] | None = None
    ) -> None:
        key, chain = certificate or (None, None)
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                ws="none",
                timeout_graceful_shutdown=_STOP_SECONDS,
                timeout_keep_alive=20,
                ssl_keyfile=key,
                ssl_certfile=chain,
            )
        )
        self._app, self._listener = app, listener

    def run_until_stopped(self, logs: Path, on_up: Callable[[], None]) -> None:
        """Answer requests until SIGINT or SIGTERM.

        Args:
            logs: folder for the log.
            on_up: called once requests are answered.

        Raises:
            ServerError: the application did not start.
        """
        watcher = threading.Thread(target=self._wait_until_up, args=(on_up,), daemon=True)
        watcher.start()
        try:
            with log.written_to(logs):
                self.run(sockets=[self._listener])
        except KeyboardInterrupt:
            pass  # uvicorn has stopped gracefully, and raises it for its callers
        finally:
            self._listener.close()
        if not self.started:
            raise ServerError(f"the server did not start; see {logs / log.FILE}")

    def handle_exit(self, sig: int, frame: object) -> None:
        """Begin to stop."""
        stopping = getattr(self._app.state, "stopping", None)
        if stopping is not None:
            stopping.set()
        super().handle_exit(sig, frame)  # type: ignore[arg-type]

    def _wait_until_up(self, on_up: Callable[[], None]) -> None:
        while not self.started and not self.should_exit:
            threading.Event().wait(0.02)
        if self.started:
            on_up()
