"""Local index (SQLite) of a table of the lake, on the driver's disk.

It is derived data: it can be deleted at any time and is rebuilt from its table. The cost of a lookup does not
grow with the table.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self


class LocalIndex:
    """A SQLite database that indexes one table of the lake.

    Args:
        file: of the database; created if it is missing.
        tables: SQL that creates the database's tables if they are missing.
    """

    def __init__(self, file: Path, tables: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._database = _open(file, tables)
        except sqlite3.OperationalError:  # the disk is full or not writable
            raise
        except sqlite3.DatabaseError:  # the file is damaged or not a database
            delete_index(file)
            self._database = _open(file, tables)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def version(self) -> int:
        """Table version that the index reflects; -1 for none."""
        return int(self._database.execute("SELECT coalesce(max(version), -1) FROM progress").fetchone()[0])

    @contextmanager
    def _transaction(self, version: int) -> Iterator[None]:
        """Run the block in one transaction, which also records the table version."""
        self._database.execute("BEGIN")
        try:
            yield
            self._database.execute("DELETE FROM progress")
            self._database.execute("INSERT INTO progress VALUES (?)", (version,))
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")


def _open(file: Path, tables: str) -> sqlite3.Connection:
    database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
    try:
        # A commit does not wait for the disk: a power failure may lose the last ones, but the table has them.
        database.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -65536;"
            f"CREATE TABLE IF NOT EXISTS progress (version INTEGER); {tables}"
        )
    except BaseException:
        database.close()
        raise
    return database


def index_file(folder: Path, table: str) -> Path:
    """Path of the index of a table.

    Args:
        folder: of all indexes.
        table: id of the table; a recreated table has another id.
    """
    return folder / f"{table}.sqlite"


def delete_index(file: Path) -> None:
    """Delete an index; the next ingestion rebuilds it."""
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
