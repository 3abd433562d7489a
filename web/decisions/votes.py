"""Votes on labels, where several people have to agree before a decision is taken; a SQLite file."""

import sqlite3
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from organize.review.decisions import Kind, Wish

_SCHEMA = """
CREATE TABLE IF NOT EXISTS votes (
    image_id TEXT NOT NULL, user TEXT NOT NULL, kind TEXT NOT NULL, label TEXT NOT NULL, voted TEXT NOT NULL,
    taken INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (image_id, user)
) WITHOUT ROWID;
"""


class Votes:
    """Counts votes.

    Args:
        file: a SQLite file.
        agreement: people who have to agree, 2 or more.
    """

    def __init__(self, file: Path, agreement: int) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._agreement = agreement
        self._lock = threading.Lock()
        self._database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def vote(self, wishes: Sequence[Wish], user: str) -> list[Wish]:
        """Record votes; a newer vote of the same person on an image replaces the older one.

        Returns:
            the wishes that enough people agree on. An undo takes a vote back; if the vote was taken, the undo
            is a wish that needs no agreement.
        """
        now, agreed = datetime.now(UTC).isoformat(timespec="seconds"), []
        with self._lock:
            for wish in wishes:
                if wish.kind is Kind.UNDO:
                    if self._take_back(wish.image_id, user):
                        continue
                    agreed.append(wish)
                    continue
                values = (wish.image_id, user, wish.kind.value, wish.label or "", now)
                self._execute("INSERT OR REPLACE INTO votes VALUES (?, ?, ?, ?, ?, 0)", *values)
                same = (
                    "SELECT count(*) FROM votes WHERE image_id = ? AND kind = ? AND label = ? AND taken = 0"
                )
                ((number,),) = self._execute(same, wish.image_id, wish.kind.value, wish.label or "")
                if int(number) >= self._agreement:
                    agreed.append(wish)
        return agreed

    def mark_taken(self, wishes: Sequence[Wish]) -> None:
        """Record that decisions were taken: a later one needs new votes. Votes on undone ones are deleted."""
        with self._lock:
            for wish in wishes:
                if wish.kind is Kind.UNDO:
                    self._execute("DELETE FROM votes WHERE image_id = ?", wish.image_id)
                else:
                    self._execute("UPDATE votes SET taken = 1 WHERE image_id = ?", wish.image_id)

    def voted(self, user: str) -> set[str]:
        """Images that wait for the vote of others after this person's."""
        with self._lock:
            rows = self._execute("SELECT image_id FROM votes WHERE user = ? AND taken = 0", user)
        return {row[0] for row in rows}

    def waiting(self) -> int:
        """Number of images with votes on which not enough people agree yet."""
        with self._lock:
            ((number,),) = self._execute("SELECT count(DISTINCT image_id) FROM votes WHERE taken = 0")
        return int(number)

    def _take_back(self, image_id: str, user: str) -> bool:
        query = "DELETE FROM votes WHERE image_id = ? AND user = ? AND taken = 0 RETURNING image_id"
        return bool(self._execute(query, image_id, user))

    def _execute(self, statement: str, *values: str) -> list[tuple[str]]:
        return self._database.execute(statement, values).fetchall()
