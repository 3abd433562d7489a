"""The queue of erasures: one `hub erase` at a time, tried again while an ingestion holds the lake.

An erasure is a Spark command that needs the lake for itself, so a page cannot wait for it. As soon as it is
asked for, the user's rows are out of the copies of the tables, and so out of all pages.
"""

import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

_RETRY_SECONDS = 60.0
_SECONDS = 3600.0  # a command that takes longer is stopped and tried again

_SCHEMA = """
CREATE TABLE IF NOT EXISTS erasures (
    user TEXT PRIMARY KEY, asked TEXT NOT NULL, state TEXT NOT NULL, detail TEXT NOT NULL, ended TEXT
) WITHOUT ROWID;
"""


class State(StrEnum):
    """What became of an erasure."""

    WAITING = "waiting"
    RUNNING = "running"
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
        file: a SQLite file; erasures that were not done survive a restart.
        hide: called with a user and True when an erasure is asked for, and at the start for those that wait;
            with False when it is done.
    """

    def __init__(self, file: Path, hide: Callable[[str, bool], None]) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._hide = hide
        self._lock = threading.Lock()
        self._database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._database.executescript(_SCHEMA)
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
            for erasure in self._open():
                if self._stopped.is_set():
                    return
                self._carry_out(erasure.user)
            self._asked.wait(_RETRY_SECONDS)

    def _carry_out(self, user: str) -> None:
        self._set(user, State.RUNNING, "")
        done, why = self._command(user)
        if done:
            ended = datetime.now(UTC).isoformat(timespec="seconds")
            done_now = "UPDATE erasures SET state = ?, detail = '', ended = ? WHERE user = ?"
            self._execute(done_now, State.DONE, ended, user)
            self._hide(user, False)
        else:
            self._set(user, State.WAITING, why)

    def _command(self, user: str) -> tuple[bool, str]:
        """Run `hub erase`; whether the user is erased, or else why not."""
        command = [sys.executable, "-P", "-m", "jobs.hub", "erase", "--user", user, "--json"]
        self._child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=dict(os.environ), start_new_session=True,
        )  # fmt: skip
        try:
            output, errors = self._child.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.terminate()
            self._child.wait(60)
            return False, "it took too long"
        finally:
            status, self._child = self._child.returncode, None
        why = (errors.strip().splitlines() or [f"status {status}"])[-1].removeprefix("hub erase: error: ")
        if status == 0:
            return bool(json.loads(output)), ""
        return "no upload of user" in why, why  # nothing of the user is in the lake

    def _set(self, user: str, state: State, detail: str) -> None:
        self._execute("UPDATE erasures SET state = ?, detail = ? WHERE user = ?", state, detail, user)

    def _execute(self, statement: str, *values: str) -> list[tuple[str, str, str, str, str | None]]:
        with self._lock:
            return self._database.execute(statement, values).fetchall()


def _erasure(row: tuple[str, str, str, str, str | None]) -> Erasure:
    return Erasure(row[0], row[1], State(row[2]), row[3], row[4])
