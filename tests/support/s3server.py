"""A real S3 server (S3Proxy on local files) for the test run, and a proxy that spoils its answers."""

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

from conf.places import home
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
    """Where a server with its data below a folder answers; it ends with the block, or with this process."""
    jars = home() / "jars" / "s3server"
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
        from tests.support.waiting import comes_true, is_open

        up = comes_true(lambda: server.poll() is not None or is_open(f"127.0.0.1:{port}"), 60)
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
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    import ctypes
    import signal

    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


@dataclass(frozen=True)
class Bucket:
    """A bucket that no other test has.

    Args:
        s3: settings of its store.
        name: of the bucket.
    """

    s3: S3
    name: str

    @property
    def client(self) -> Any:
        """A client that is not the hub's."""
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
        """Keys of all objects (of the first 1,000), without the folders that S3Proxy shows."""
        found = self.client.list_objects_v2(Bucket=self.name).get("Contents", [])
        return [each["Key"] for each in found if not each["Key"].endswith("/")]

    def uri(self, key: str = "") -> str:
        """The URI of a key or prefix."""
        return f"s3://{self.name}/{key}"


# What a proxy makes of an answer, and does to a request: pass it on, answer with a status, say nothing, break
# off in mid-body, or pass on another answer.
Change = Callable[[bytes], bytes]
Spoil = Callable[[str, str], int | str | Change | None]


@dataclass
class Between:
    """A TCP proxy before the server; it reads each request's first line and may spoil the answer.

    Args:
        server: host:port of the real one.
        spoil: gets method and path of each request and says what becomes of it: None passes it on, a number
            is the status of an error, "stall" gets no answer, "trickle" the second half of the body byte by
            byte, "cut" only the first half, "untagged" all but the ETag; a function makes another of it.
        seen: method and path of every request.
    """

    server: str
    spoil: Spoil = lambda method, path: None
    seen: list[tuple[str, str]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[str]:
        """Where the proxy answers, for as long as the block."""
        with _Proxy(("127.0.0.1", 0), partial(_Conversation, between=self)) as proxy:
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


class _Conversation(socketserver.StreamRequestHandler):
    """One connection; the server's answers end by closing it."""

    def __init__(self, *arguments: Any, between: Between) -> None:
        self.between = between
        super().__init__(*arguments)

    def handle(self) -> None:
        while (head := self._head()) is not None:
            method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            body = self.rfile.read(_length(head))
            self.between.seen.append((method, path))
            what = self.between.spoil(method, path)
            if what == "stall":
                self.between.over.wait(60)
                return
            if isinstance(what, int):
                self.wfile.write(_error(what, method))
                continue
            answer = self._answer(head, body)
            change = _CHANGES.get(what, what)
            if callable(change):
                self.wfile.write(change(answer))
                return
            begin = answer.index(b"\r\n\r\n") + 4
            half = begin + (len(answer) - begin) // 2
            self.wfile.write(answer[:half])
            if what == "trickle":
                for position in range(half, len(answer)):
                    if self.between.over.wait(0.2):
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
        host, _, port = self.between.server.rpartition(":")
        with socket.create_connection((host.removeprefix("http://"), int(port)), 10) as upstream:
            upstream.sendall(head + b"Connection: close\r\n\r\n" + body)
            answer = bytearray()
            while select.select([upstream], [], [], 30)[0] and (chunk := upstream.recv(1 << 16)):
                answer += chunk
        return bytes(answer)


def headed(name: str, value: str | None, answer: bytes) -> bytes:
    """The answer with another value of a header, or without it."""
    line = b"" if value is None else f"\r\n{name}: {value}".encode()
    head, _, body = answer.partition(b"\r\n\r\n")
    others = re.sub(rb"\r\n%s:[^\r]*" % name.encode(), b"", head, flags=re.IGNORECASE)
    return others + line + b"\r\n\r\n" + body


_CHANGES: dict[object, Change] = {None: bytes, "untagged": partial(headed, "etag", None)}


def chunked(answer: bytes) -> bytes:
    """The answer as a server gives it that learns of its length only at its end."""
    answer = headed("transfer-encoding", "chunked", headed("content-length", None, answer))
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
