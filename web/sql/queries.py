"""Runs statements of people on a copy of the tables, each in a process that is killed at its deadline."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from web.data.mirror import Mirror
from web.problems.problem import Problem

SECONDS = 2.0  # of one statement
ROWS = 1000
_START_SECONDS = 20.0  # until the process can take the statement
_AT_A_TIME = 2
_STATEMENT = 20_000  # characters
_ANSWER_BYTES = 16 * 2**20
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Column:
    """A column of an answer, with DuckDB's type."""

    name: str
    type: str


@dataclass(frozen=True)
class Answer:
    """Rows of a statement, or why there are none.

    Args:
        columns, rows: cells are numbers, booleans, texts or None.
        more: there are more rows.
        error: in one text; empty on success.
        seconds: that the statement took.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    more: bool
    error: str
    seconds: float


class Queries:
    """Runs statements; at most two at a time.

    Args:
        mirror: whose copies are queried.
        folder: for the file that the processes open.
    """

    def __init__(self, mirror: Mirror, folder: Path) -> None:
        self._mirror, self._folder = mirror, folder
        self._slots = threading.BoundedSemaphore(_AT_A_TIME)

    def run(self, statement: str, rows: int = ROWS) -> Answer:
        """Run one statement.

        Args:
            statement: in DuckDB's SQL, on the tables and views of `hub sql`.
            rows: of the answer, at most.

        Raises:
            Problem: 422, it is too long; 503, others are running.
        """
        if len(statement) > _STATEMENT:
            raise Problem(422, f"the statement has more than {_STATEMENT:,} characters")
        if not self._slots.acquire(timeout=SECONDS):
            raise Problem(503, "other queries are running: try again", "busy", retry_after=2)
        try:
            return _run(self._mirror.snapshot(self._folder), statement, rows)
        finally:
            self._slots.release()


def _run(database: Path, statement: str, rows: int) -> Answer:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "web.sql.sandbox", str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(),
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None
    begun = time.monotonic()
    try:
        if not _read(process.stdout, begun + _START_SECONDS, line=True):
            return _failed("the query process did not start: try again", 0.0)
        begun = time.monotonic()
        process.stdin.write(json.dumps({"statement": statement, "rows": rows}).encode() + b"\n")
        process.stdin.flush()
        output = _read(process.stdout, begun + SECONDS)
    except BrokenPipeError:
        output = b""
    finally:
        _kill(process)
    seconds = time.monotonic() - begun
    if output is None:
        return _failed(f"stopped after {SECONDS:g} s: ask for less, or use `hub sql`", seconds)
    try:
        answer = json.loads(output)
    except ValueError:
        return _failed("stopped: it needs too much memory, or tried what is not allowed", seconds)
    if "error" in answer:
        return _failed(answer["error"], seconds)
    columns = tuple(Column(name, kind) for name, kind in answer["columns"])
    return Answer(columns, tuple(map(tuple, answer["rows"])), answer["more"], "", seconds)


def _read(pipe: IO[bytes], deadline: float, line: bool = False) -> bytes | None:
    """Read to the end, or a line; None at the deadline, or if there is too much."""
    found = b""
    while (left := deadline - time.monotonic()) > 0 and len(found) <= _ANSWER_BYTES:
        if select.select([pipe], [], [], left)[0]:
            chunk = os.read(pipe.fileno(), _CHUNK)
            found += chunk
            if not chunk or (line and found.endswith(b"\n")):
                return found
    return None


def _kill(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:
                continue


def _failed(why: str, seconds: float) -> Answer:
    return Answer((), (), False, why, seconds)


def _environment() -> dict[str, str]:
    """No credentials; one memory arena, so that the address space is what is used."""
    return {
        "PATH": os.environ.get("PATH", ""),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC0",
        "MALLOC_ARENA_MAX": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
