"""The trainings that were asked for, in a SQLite file: they survive a restart of the server."""

import secrets
import sqlite3
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from web.trainings.training_request import TrainingRequest

_SCHEMA = """
CREATE TABLE IF NOT EXISTS trainings (
    training_id TEXT PRIMARY KEY, number INTEGER NOT NULL, user TEXT NOT NULL, request TEXT NOT NULL,
    state TEXT NOT NULL, asked TEXT NOT NULL, started TEXT, ended TEXT, pid INTEGER, pid_started INTEGER,
    model_id TEXT, detail TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
"""
_COLUMNS = "training_id, user, request, state, asked, started, ended, pid, pid_started, model_id, detail"


class TrainingState(StrEnum):
    """What became of a training."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN = (TrainingState.QUEUED, TrainingState.RUNNING)


@dataclass(frozen=True)
class Training:
    """A training that was asked for.

    Args:
        training_id: its id.
        user: who asked.
        request: what for.
        state: what became of it.
        asked, started, ended: ISO 8601, UTC.
        pid, pid_started: its process, and when that was started (clock ticks since boot).
        model_id: the model, once it is known.
        detail: why it failed.
    """

    training_id: str
    user: str
    request: TrainingRequest
    state: TrainingState
    asked: str
    started: str | None = None
    ended: str | None = None
    pid: int | None = None
    pid_started: int | None = None
    model_id: str | None = None
    detail: str = ""


class TrainingStore:
    """Reads and writes trainings.

    Args:
        file: a SQLite file.
    """

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def add(self, request: TrainingRequest, user: str) -> Training:
        """Add a training to the end of the queue."""
        training_id = f"training-{secrets.token_hex(5)}"
        self._execute(
            "INSERT INTO trainings (training_id, number, user, request, state, asked) VALUES "
            "(?, (SELECT coalesce(max(number), 0) + 1 FROM trainings), ?, ?, ?, ?)",
            training_id, user, request.model_dump_json(), TrainingState.QUEUED.value, now(),
        )  # fmt: skip
        found = self.get(training_id)
        assert found is not None
        return found

    def get(self, training_id: str) -> Training | None:
        """A training by its id."""
        rows = self._execute(f"SELECT {_COLUMNS} FROM trainings WHERE training_id = ?", training_id)
        return _training(rows[0]) if rows else None

    def newest(self, limit: int) -> list[Training]:
        """The newest trainings, the newest first."""
        query = f"SELECT {_COLUMNS} FROM trainings ORDER BY number DESC LIMIT ?"
        return [_training(row) for row in self._execute(query, limit)]

    def open(self) -> list[Training]:
        """Trainings that are queued or running, in the order of the queue."""
        query = f"SELECT {_COLUMNS} FROM trainings WHERE state IN (?, ?) ORDER BY number"
        return [_training(row) for row in self._execute(query, *(state.value for state in OPEN))]

    def begin(self, training_id: str, pid: int, pid_started: int) -> None:
        """Record that a process trains."""
        self._execute(
            "UPDATE trainings SET state = ?, started = ?, pid = ?, pid_started = ? WHERE training_id = ?",
            TrainingState.RUNNING.value, now(), pid, pid_started, training_id,
        )  # fmt: skip

    def set_model(self, training_id: str, model_id: str) -> None:
        """Record which model it trains."""
        self._execute("UPDATE trainings SET model_id = ? WHERE training_id = ?", model_id, training_id)

    def end(self, training_id: str, state: TrainingState, detail: str = "") -> bool:
        """Record how a training ended; False if it had ended before."""
        rows = self._execute(
            "UPDATE trainings SET state = ?, detail = ?, ended = ? WHERE training_id = ? AND state IN (?, ?) "
            "RETURNING training_id",
            state.value, detail, now(), training_id, *(each.value for each in OPEN),
        )  # fmt: skip
        return bool(rows)

    def _execute(self, statement: str, *values: str | int) -> list[tuple[object, ...]]:
        with self._lock:
            return self._database.execute(statement, values).fetchall()


def now() -> str:
    """The time now, as the store writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _training(row: tuple[object, ...]) -> Training:
    training_id, user, request, state, *rest = row
    return Training(
        str(training_id), str(user), TrainingRequest.model_validate_json(str(request)),
        TrainingState(str(state)), *rest,  # type: ignore[arg-type]
    )  # fmt: skip
