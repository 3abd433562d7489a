"""The queue of erasures: each is noted in the lake, and carried out by whoever holds it.

An erasure is a Spark command that needs the lake for itself, so a page cannot wait for it. A running
ingestion carries it out between two micro-batches; without one this server runs `hub erase --asked`. As soon
as it is asked for, the user's rows are out of the copies of the tables, and so out of all pages.
"""

import logging
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from conf.errors import HubError
from conf.settings import Settings
from streaming import erasure_requests

_log = logging.getLogger("hub.web")

_LOOK_SECONDS = 2.0  # between looks whether it was carried out
_FIRST_SECONDS = 10.0  # in which a running ingestion begins with it
_RETRY_SECONDS = 60.0  # between commands, while the lake is in use
_KEPT = timedelta(days=30)  # that somebody was erased, which their page says
_SECONDS = 3600.0  # a command that takes longer is stopped and tried again

_SCHEMA = """
CREATE TABLE IF NOT EXISTS erasures (
    user TEXT PRIMARY KEY, asked TEXT NOT NULL, state TEXT NOT NULL, detail TEXT NOT NULL, ended TEXT
) WITHOUT ROWID;
"""


class State(StrEnum):
    """What became of an erasure."""

    WAITING = "waiting"  # not noted in the lake yet
    RUNNING = "running"  # noted there
    DONE = "done"


@dataclass(frozen=True)
class Erasure:
    """An erasure: whose, when it was asked for and ended (ISO 8601, UTC), and why it waits."""

    user: str
    asked: str
    state: State
    detail: str
    ended: str | None


class ErasureQueue:
    """Carries out erasures in a thread.

    Args:
        settings: of the hub.
        file: a SQLite file; erasures that were not done survive a restart.
        hide: called with a user and True when an erasure is asked for, and at the start for those that wait;
            with False when it is done.
        forget: called with a user when the tables no longer have them.
    """

    def __init__(
        self, settings: Settings, file: Path, hide: Callable[[str, bool], None], forget: Callable[[str], None]
    ) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._settings, self._hide, self._forget = settings, hide, forget
        self._next_command = 0.0
        self._lock = threading.Lock()
        self._database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._database.executescript(_SCHEMA)
        long_ago = (datetime.now(UTC) - _KEPT).isoformat()
        self._execute("DELETE FROM erasures WHERE ended < ?", long_ago)
        self._stopped, self._asked = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="erasures", daemon=True)
        self._child: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Begin to carry out what waits."""
        for erasure in self._open():
            self._hide(erasure.user, True)
        self._thread.start()

    def stop(self) -> None:
        """Stop. A command that is running is interrupted; it is resumed when it is run again."""
        self._stopped.set()
        self._asked.set()
        if self._child is not None:
            self._child.terminate()
        if self._thread.is_alive():
            self._thread.join(30)
        self._database.close()

    def ask(self, user: str) -> None:
        """Ask for the erasure of a user."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._execute("INSERT OR REPLACE INTO erasures VALUES (?, ?, ?, '', NULL)", user, now, State.WAITING)
        self._hide(user, True)
        self._asked.set()

    def of_user(self, user: str) -> Erasure | None:
        """The newest erasure of a user."""
        rows = self._execute("SELECT * FROM erasures WHERE user = ?", user)
        return _erasure(rows[0]) if rows else None

    def _open(self) -> list[Erasure]:
        rows = self._execute("SELECT * FROM erasures WHERE state <> ? ORDER BY asked", State.DONE)
        return [_erasure(row) for row in rows]

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._asked.clear()
            waiting = [each.user for each in self._open() if not self._advance(each)]
            if waiting and time.monotonic() >= self._next_command and not self._stopped.is_set():
                self._command(waiting)
                self._next_command = time.monotonic() + _RETRY_SECONDS
                continue
            self._asked.wait(_LOOK_SECONDS if waiting else _RETRY_SECONDS)

    def _advance(self, erasure: Erasure) -> bool:
        """Note an erasure in the lake, or find out that it was carried out; whether it is done."""
        try:
            if erasure.state is State.WAITING:
                erasure_requests.ask(self._settings, erasure.user)
                self._set(erasure.user, State.RUNNING, "")
                self._next_command = time.monotonic() + _FIRST_SECONDS
                return False
            if erasure_requests.waits(self._settings, erasure.user):
                return False
            self._forget(erasure.user)
        except (HubError, OSError, sqlite3.Error) as error:
            self._set(erasure.user, erasure.state, str(error))
            return False
        ended = datetime.now(UTC).isoformat(timespec="seconds")
        done = "UPDATE erasures SET state = ?, detail = '', ended = ? WHERE user = ?"
        self._execute(done, State.DONE, ended, erasure.user)
        self._hide(erasure.user, False)
        return True

    def _command(self, users: list[str]) -> None:
        """Run `hub erase --asked`. It fails while an ingestion has the lake, which then does it itself."""
        command = [sys.executable, "-P", "-m", "jobs.hub", "erase", "--asked", "--json"]
        self._child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env=dict(os.environ), start_new_session=True,
        )  # fmt: skip
        try:
            _, errors = self._child.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.terminate()
            self._child.wait(60)
            errors = "it took too long"
        finally:
            status, self._child = self._child.returncode, None
        if status:
            why = (errors.strip().splitlines() or [f"status {status}"])[-1].removeprefix("hub erase: error: ")
            _log.warning("an erasure waits: %s", why)
            for user in users:
                self._set(user, State.RUNNING, why)

    def _set(self, user: str, state: State, detail: str) -> None:
        self._execute("UPDATE erasures SET state = ?, detail = ? WHERE user = ?", state, detail, user)

    def _execute(self, statement: str, *values: str) -> list[tuple[str, str, str, str, str | None]]:
        with self._lock:
            return self._database.execute(statement, values).fetchall()


def _erasure(row: tuple[str, str, str, str, str | None]) -> Erasure:
    return Erasure(row[0], row[1], State(row[2]), row[3], row[4])
