"""A real S3 server (S3Proxy on local files) for the test run, and a proxy that injects faults."""

import os
import re
import select
import shutil
import socket
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from conf.places import base_dir
from conf.sections import S3

KEY, SECRET = "tests", "tests-secret"

_PROPERTIES = """\
s3proxy.endpoint=http://127.0.0.1:{port}
s3proxy.authorization=aws-v2-or-v4
s3proxy.identity={key}
s3proxy.credential={secret}
jclouds.provider=filesystem
jclouds.filesystem.basedir={data}
"""
_LOGGING = """\
<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d %p %c{1}: %m%n</pattern></encoder>
  </appender>
  <root level="warn"><appender-ref ref="out"/></root>
</configuration>
"""


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Run a server on a folder during the block; yields its URL. It also ends with this process."""
    jars = base_dir() / "jars" / "s3server"
    if not any(jars.glob("s3proxy-*.jar")):
        pytest.fail(f"no S3 server in {jars}: run `make setup-s3server`")
    (folder / "data").mkdir(parents=True)
    port = free_port()
    properties = _PROPERTIES.format(port=port, key=KEY, secret=SECRET, data=folder / "data")
    (folder / "s3proxy.conf").write_text(properties)
    (folder / "logback.xml").write_text(_LOGGING)
    java = shutil.which("java", path=f"{os.environ['JAVA_HOME']}/bin" if "JAVA_HOME" in os.environ else None)
    flags = ["-Xmx256m", "-XX:+UseSerialGC", f"-Dlogback.configurationFile={folder / 'logback.xml'}"]
    main = ["org.gaul.s3proxy.Main", "--properties", str(folder / "s3proxy.conf")]
    with (folder / "out.log").open("wb") as log:
        server = subprocess.Popen(
            [java or "java", *flags, "-cp", f"{jars}/*", *main],
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
    try:
        from tests.support.waiting import port_is_open, wait_until

        up = wait_until(lambda: server.poll() is not None or port_is_open(f"127.0.0.1:{port}"), 60)
        assert up and server.poll() is None, (folder / "out.log").read_text()[-2000:]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(20)


def free_port() -> int:
    """A free TCP port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    import ctypes
    import signal

    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


@dataclass(frozen=True)
class Bucket:
    """A bucket for one test.

    Args:
        s3: settings of the S3 server.
        name: of the bucket.
    """

    s3: S3
    name: str

    @property
    def client(self) -> Any:
        """A boto3 client, independent of the hub's code."""
        import boto3
        from botocore.config import Config

        config = Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required")
        return boto3.client(
            "s3", endpoint_url=self.s3.endpoint, region_name="us-east-1", aws_access_key_id=KEY,
            aws_secret_access_key=SECRET, config=config,
        )  # fmt: skip

    def put(self, objects: dict[str, bytes]) -> None:
        """Write objects."""
        client = self.client
        for key, content in objects.items():
            client.put_object(Bucket=self.name, Key=key, Body=content)

    def keys(self) -> list[str]:
        """Keys of the first 1,000 objects, without S3Proxy's folder markers."""
        found = self.client.list_objects_v2(Bucket=self.name).get("Contents", [])
        return [each["Key"] for each in found if not each["Key"].endswith("/")]

    def uri(self, key: str = "") -> str:
        """The URI of a key or prefix."""
        return f"s3://{self.name}/{key}"


Change = Callable[[bytes], bytes]  # from a response to another response
ChooseFault = Callable[[str, str], int | str | Change | None]


@dataclass
class FaultProxy:
    """A TCP proxy in front of the server that injects faults into responses.

    Args:
        server: host:port of the real server.
        spoil: maps method and path of a request to a fault: None forwards the response, a number is an error
            status, "stall" gives no response, "trickle" the second half of the body byte by byte, "cut" only
            the first half, "untagged" no ETag; a function changes the response.
        seen: method and path of every request.
    """

    server: str
    spoil: ChooseFault = lambda method, path: None
    seen: list[tuple[str, str]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[str]:
        """Run the proxy during the block; yields its URL."""
        with _Proxy(("127.0.0.1", 0), partial(_Connection, proxy=self)) as proxy:
            thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            try:
                yield f"http://127.0.0.1:{proxy.server_address[1]}"
            finally:
                self.over.set()
                proxy.shutdown()
                thread.join()


class _Proxy(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64


class _Connection(socketserver.StreamRequestHandler):
    """One connection; the server ends each response by closing it."""

    def __init__(self, *arguments: Any, proxy: FaultProxy) -> None:
        self.proxy = proxy
        super().__init__(*arguments)

    def handle(self) -> None:
        while (head := self._head()) is not None:
            method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            body = self.rfile.read(_length(head))
            self.proxy.seen.append((method, path))
            fault = self.proxy.spoil(method, path)
            if fault == "stall":
                self.proxy.over.wait(60)
                return
            if isinstance(fault, int):
                self.wfile.write(_error(fault, method))
                continue
            answer = self._answer(head, body)
            change = _CHANGES.get(fault, fault)
            if callable(change):
                self.wfile.write(change(answer))
                return
            body_start = answer.index(b"\r\n\r\n") + 4
            half = body_start + (len(answer) - body_start) // 2
            self.wfile.write(answer[:half])
            if fault == "trickle":
                for position in range(half, len(answer)):
                    if self.proxy.over.wait(0.2):
                        break
                    try:
                        self.wfile.write(answer[position : position + 1])
                    except OSError:
                        break
            return

    def _head(self) -> bytes | None:
        lines = []
        try:
            while (line := self.rfile.readline()) not in (b"\r\n", b""):
                if line.lower().startswith(b"expect: 100-continue"):
                    self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                elif not line.lower().startswith(b"connection:"):
                    lines.append(line)
        except OSError:
            return None
        return b"".join(lines) if lines else None

    def _answer(self, head: bytes, body: bytes) -> bytes:
        host, _, port = self.proxy.server.rpartition(":")
        with socket.create_connection((host.removeprefix("http://"), int(port)), 10) as upstream:
            upstream.sendall(head + b"Connection: close\r\n\r\n" + body)
            answer = bytearray()
            while select.select([upstream], [], [], 30)[0] and (chunk := upstream.recv(1 << 16)):
                answer += chunk
        return bytes(answer)


def with_header(name: str, value: str | None, answer: bytes) -> bytes:
    """Set a header of a response, or remove it."""
    line = b"" if value is None else f"\r\n{name}: {value}".encode()
    head, _, body = answer.partition(b"\r\n\r\n")
    others = re.sub(rb"\r\n%s:[^\r]*" % name.encode(), b"", head, flags=re.IGNORECASE)
    return others + line + b"\r\n\r\n" + body


_CHANGES: dict[object, Change] = {None: bytes, "untagged": partial(with_header, "etag", None)}


def chunked(answer: bytes) -> bytes:
    """The response with chunked transfer encoding, without Content-Length."""
    answer = with_header("transfer-encoding", "chunked", with_header("content-length", None, answer))
    head, _, body = answer.partition(b"\r\n\r\n")
    parts = [body[start : start + 40] for start in range(0, len(body), 40)]
    return head + b"\r\n\r\n" + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in [*parts, b""])


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _error(status: int, method: str) -> bytes:
    code = {503: "SlowDown", 500: "InternalError", 403: "AccessDenied"}[status]
    body = b"" if method == "HEAD" else f"<Error><Code>{code}</Code><Message>x</Message></Error>".encode()
    head = f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
