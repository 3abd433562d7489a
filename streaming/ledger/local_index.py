"""An index on this machine's disk of what a table of the lake says.

It is derived, can be deleted at any time and is made anew from its table. It makes a question cost the same
whether the table holds a thousand rows or a hundred million.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self


class LocalIndex:
    """A database of its own for each table of the lake.

    Args:
        file: of the index; made where it is missing.
        tables: SQL that makes its tables where they are missing.
    """

    def __init__(self, file: Path, tables: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._database = _opened(file, tables)
        except sqlite3.OperationalError:  # the disk is full, or it may not be written
            raise
        except sqlite3.DatabaseError:  # it is damaged, or no index at all
            discard(file)
            self._database = _opened(file, tables)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def version(self) -> int:
        """Of the table, as the index knows it; -1 for none."""
        return int(self._database.execute("SELECT coalesce(max(version), -1) FROM progress").fetchone()[0])

    @contextmanager
    def _now_at(self, version: int) -> Iterator[None]:
        """What is written in the block is written as a whole, with the table's version, or not at all."""
        self._database.execute("BEGIN")
        try:
            yield
            self._database.execute("DELETE FROM progress")
            self._database.execute("INSERT INTO progress VALUES (?)", (version,))
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")


def _opened(file: Path, tables: str) -> sqlite3.Connection:
    database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
    try:
        # A commit does not wait for the disk: a power cut may cost the last ones, which the table still has.
        database.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -65536;"
            f"CREATE TABLE IF NOT EXISTS progress (version INTEGER); {tables}"
        )
    except BaseException:
        database.close()
        raise
    return database


def file_of(folder: Path, table: str) -> Path:
    """Where the index of a table lies.

    Args:
        folder: of the indexes.
        table: its id; a table that is deleted and made again has another.
    """
    return folder / f"{table}.sqlite"


def discard(file: Path) -> None:
    """Remove an index; the next ingestion makes it anew."""
    for ending in ("", "-wal", "-shm"):
        file.with_name(file.name + ending).unlink(missing_ok=True)
