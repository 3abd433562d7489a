"""Removes a person from the files of the web server: votes, trainings, receipts. Accounts and keys stay.

The tables of the lake are erased by `hub erase`; this comes after it.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from conf.settings import Settings
from lake import row_writer
from lake.table import Table

_STATEMENTS = {
    "votes.db": ("votes", "DELETE FROM votes WHERE user = ?"),
    "trainings.db": ("trainings", "UPDATE trainings SET user = '' WHERE user = ?"),
    "receipts.db": ("receipts", "DELETE FROM receipts WHERE user = ?"),
}
_CHUNK = 500  # image ids in a query
_LOCKED_SECONDS = 20.0  # to wait for a server that is writing


def forget(settings: Settings, user: str) -> None:
    """Remove a user's name, and votes on pictures that are gone; files that do not exist stay so.

    Raises:
        StorageError: the samples cannot be read.
    """
    for name, (table, statement) in _STATEMENTS.items():
        file = settings.web.dir / name
        if not file.exists():
            continue
        with closing(sqlite3.connect(file, timeout=_LOCKED_SECONDS)) as database, database:
            if _has(database, table):
                database.execute(statement, [user])
    _forget_votes_on_lost_pictures(settings, settings.web.dir / "votes.db")
    for name in _STATEMENTS:
        _overwrite(settings.web.dir / name)


def _forget_votes_on_lost_pictures(settings: Settings, file: Path) -> None:
    if not file.exists():
        return
    with closing(sqlite3.connect(file, timeout=_LOCKED_SECONDS)) as database, database:
        if not _has(database, "votes"):
            return
        voted = [row[0] for row in database.execute("SELECT DISTINCT image_id FROM votes")]
        for first in range(0, len(voted), _CHUNK):
            chunk = voted[first : first + _CHUNK]
            rows = row_writer.read(
                settings, Table.SAMPLES, ("image_id",), f"image_id IN ({row_writer.literal(*chunk)})"
            )
            lost = set(chunk) - {row["image_id"] for row in rows}
            database.executemany("DELETE FROM votes WHERE image_id = ?", [(each,) for each in lost])


def _overwrite(file: Path) -> None:
    """Write the file anew: SQLite leaves deleted values in free pages and in its log."""
    if file.exists():
        with closing(sqlite3.connect(file, timeout=_LOCKED_SECONDS, isolation_level=None)) as database:
            database.execute("VACUUM")
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _has(database: sqlite3.Connection, table: str) -> bool:
    found = database.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", [table])
    return found.fetchone() is not None
