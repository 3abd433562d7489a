"""Receipts: uploads that Kafka has acknowledged, until the ledger has them; and attempts without an answer.

They say that an upload is stored while its verdict is pending, also after a restart. Losing the file loses no
upload: it is in Kafka.
"""

import sqlite3
import threading
from collections.abc import Collection, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

_KEPT = timedelta(days=7)
_ATTEMPTS_KEPT = timedelta(hours=1)  # an upload that is repeated later is rejected as duplicate_upload

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS receipts (
    upload_id TEXT PRIMARY KEY, user TEXT, device TEXT, batch TEXT, label TEXT, stored TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS receipts_by_user ON receipts (user, stored);
CREATE TABLE IF NOT EXISTS attempts (upload_id TEXT PRIMARY KEY, begun TEXT) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Receipt:
    """An upload that Kafka has acknowledged.

    Args:
        upload_id, user, device, batch: of the upload.
        label: as it was written.
        stored: when it was acknowledged (ISO 8601, UTC).
    """

    upload_id: str
    user: str
    device: str
    batch: str | None
    label: str
    stored: str


class Receipts:
    """The receipts of this server; safe to use from several threads.

    Args:
        file: a SQLite file; created if it is missing.
    """

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._database.executescript(_SCHEMA)
        self._execute("DELETE FROM receipts WHERE stored < ?", [(datetime.now(UTC) - _KEPT).isoformat()])

    def begin(self, upload_id: str) -> bool:
        """Note that an upload is sent; False if an attempt is open already, which may have stored it."""
        now = datetime.now(UTC).isoformat()
        noted = "INSERT INTO attempts VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING upload_id"
        return bool(self._execute(noted, [upload_id, now]))

    def attempts(self) -> dict[str, datetime]:
        """Uploads whose sending was begun in the last hour and has no answer, with the time."""
        since = (datetime.now(UTC) - _ATTEMPTS_KEPT).isoformat()
        self._execute("DELETE FROM attempts WHERE begun < ?", [since])
        rows = self._execute("SELECT upload_id, begun FROM attempts", [])
        return {upload_id: datetime.fromisoformat(begun) for upload_id, begun in rows}

    def forget(self, upload_ids: Collection[str]) -> None:
        """Forget attempts that stored nothing."""
        self._delete("attempts", upload_ids)

    def add(self, receipt: Receipt) -> None:
        """Keep a receipt; a repeated one replaces the first. The attempt is no longer open."""
        with self._lock:
            self._database.execute("BEGIN")
            self._database.execute(
                "INSERT OR REPLACE INTO receipts VALUES (?, ?, ?, ?, ?, ?)", astuple(receipt)
            )
            self._database.execute("DELETE FROM attempts WHERE upload_id = ?", [receipt.upload_id])
            self._database.execute("COMMIT")

    def get(self, upload_id: str) -> Receipt | None:
        """The receipt of an upload."""
        rows = self._execute("SELECT * FROM receipts WHERE upload_id = ?", [upload_id])
        return Receipt(*rows[0]) if rows else None

    def of_user(self, user: str, limit: int) -> list[Receipt]:
        """The newest receipts of a user."""
        query = "SELECT * FROM receipts WHERE user = ? ORDER BY stored DESC LIMIT ?"
        return [Receipt(*row) for row in self._execute(query, [user, limit])]

    def ids(self) -> list[str]:
        """Ids of all uploads that have a receipt."""
        return [row[0] for row in self._execute("SELECT upload_id FROM receipts", [])]

    def remove(self, upload_ids: Sequence[str]) -> None:
        """Remove receipts of uploads that the ledger has."""
        self._delete("receipts", upload_ids)

    def remove_user(self, user: str) -> None:
        """Remove all receipts of a user."""
        self._execute("DELETE FROM receipts WHERE user = ?", [user])

    def count(self) -> int:
        """Number of receipts: uploads without a verdict."""
        return int(self._execute("SELECT count(*) FROM receipts", [])[0][0])

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _delete(self, table: str, upload_ids: Collection[str]) -> None:
        with self._lock:
            self._database.execute("BEGIN")
            self._database.executemany(
                f"DELETE FROM {table} WHERE upload_id = ?", [(each,) for each in upload_ids]
            )
            self._database.execute("COMMIT")

    def _execute(self, statement: str, values: Sequence[object]) -> list[tuple[str, ...]]:
        with self._lock:
            return self._database.execute(statement, values).fetchall()
