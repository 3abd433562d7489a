"""The server process: clients that are slow, broken or endless cost no worker; it stops gracefully."""

import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from conf.settings import Settings
from tests.support.commands import hub_command
from tests.web.serving import Served, environment, served
from web.server.process import listen

_GIGABYTE = 10**9
_POST = b"POST /api/v1/uploads?label=cat HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"


@pytest.fixture(scope="module")
def server(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("served")
    web = settings.web.model_copy(update={"dir": folder / "web", "body_seconds": 3.0})
    lake = settings.lake.model_copy(update={"root": str(folder / "lake")})
    with served(settings.model_copy(update={"web": web, "lake": lake})) as running:
        yield running


def _connect(server: Served) -> socket.socket:
    connection = socket.create_connection(server.address, timeout=20)
    connection.settimeout(20)
    return connection


def _answer(connection: socket.socket) -> bytes:
    found = b""
    with suppress(ConnectionError):
        while chunk := connection.recv(65536):
            found += chunk
            if b"\r\n\r\n" in found and b"}" in found:
                break
    return found


def _is_quick(server: Served) -> bool:
    begun = time.monotonic()
    assert httpx.get(f"{server.url}/healthz", timeout=10).status_code == 200
    return time.monotonic() - begun < 2


def test_the_first_page_comes_soon(server: Served) -> None:
    begun = time.monotonic()
    page = httpx.get(server.url, timeout=10)
    assert page.status_code == 200
    assert server.seconds + time.monotonic() - begun < 30, "3 s on an idle machine"


def test_a_declared_body_of_10_gigabytes_is_refused_unread(server: Served) -> None:
    with _connect(server) as connection:
        connection.sendall(_POST + b"Content-Length: %d\r\n\r\n" % (10 * _GIGABYTE))
        assert _answer(connection).startswith(b"HTTP/1.1 413 ")


def test_an_endless_body_is_cut_off_at_the_limit(server: Served) -> None:
    before, sent = server.resident(), 0
    with _connect(server) as connection:
        connection.sendall(_POST + b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
        with suppress(ConnectionError, TimeoutError):
            while sent < 10 * _GIGABYTE:
                connection.sendall(chunk)
                sent += 1 << 20
        assert sent < 200 << 20
    assert _is_quick(server)
    assert server.resident() - before < 100 << 20


def test_a_hundred_slow_clients_leave_the_server_quick_and_are_given_up(server: Served) -> None:
    connections = [_connect(server) for _ in range(100)]
    try:
        for connection in connections:
            connection.sendall(_POST + b"Content-Length: 1000000\r\n\r\nx")
        assert _is_quick(server)
        begun = time.monotonic()
        assert _answer(connections[0]).startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - begun < 15
    finally:
        for connection in connections:
            connection.close()
    assert _is_quick(server)


def test_broken_bodies_and_requests_are_no_error_of_the_server(server: Served) -> None:
    for content in (
        _POST + b"Content-Length: 100\r\n\r\nshort",
        _POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        _POST + b"Content-Length: -5\r\n\r\n",
        _POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"A" * 200_000,
    ):
        with _connect(server) as connection:
            with suppress(ConnectionError):
                connection.sendall(content)
                connection.shutdown(socket.SHUT_WR)
            status = _answer(connection)[9:12]
            assert not status.startswith(b"5"), (content[:80], status)
    assert _is_quick(server)


def test_memory_of_bodies_is_given_back(server: Served) -> None:
    text = httpx.get(f"{server.url}/metrics").text
    assert "hub_web_upload_bytes_in_memory 0.0" in text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_within_seconds_also_while_somebody_waits_for_verdicts(
    settings: Settings, tmp_path: Path, number: int
) -> None:
    web = settings.web.model_copy(update={"dir": tmp_path / "web"})
    lake = settings.lake.model_copy(update={"root": str(tmp_path / "lake")})
    with served(settings.model_copy(update={"web": web, "lake": lake})) as running:
        begun = threading.Event()

        def listen() -> None:
            with (
                suppress(httpx.HTTPError),
                httpx.stream("GET", f"{running.url}/api/v1/uploads/verdicts", timeout=60) as answer,
            ):
                for _ in answer.iter_lines():
                    begun.set()

        thread = threading.Thread(target=listen)
        thread.start()
        assert begun.wait(20)
        stopped = time.monotonic()
        status = running.stop(number)
        thread.join(20)
        assert not thread.is_alive()
        assert time.monotonic() - stopped < 12
        assert status in (0, 130, 143)


def test_answers_do_not_wait_for_the_next_packet() -> None:
    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP, "asyncio sets TCP_NODELAY only then"


def test_a_port_in_use_is_one_line(settings: Settings, tmp_path: Path, server: Served) -> None:
    done = subprocess.run(
        hub_command("serve"), capture_output=True, text=True, timeout=60, check=False,
        env=environment(settings, server.address[1]),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "cannot listen on 127.0.0.1" in done.stderr and "HUB__WEB__PORT" in done.stderr
