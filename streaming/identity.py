"""Which upload ids have been accepted before, and where: a local index of what the ledger says.

The ledger stays the only source of truth; the index is derived, can be deleted at any time, and makes the
question cost the same whether the ledger holds a thousand rows or a hundred million.
"""

import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

_ERASED = re.compile("erased:([0-9a-f]{32})")  # see lake/erasure.py


class Position(NamedTuple):
    """Where a record lies in Kafka."""

    topic: str
    partition: int
    offset: int


Claim = tuple[str, Position]


class UploadIndex:
    """Accepted upload ids and the position that had each first.

    Args:
        file: of the index; made where it is missing.
    """

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        # The index can be made anew, so a commit need not wait for the disk.
        self._database.executescript(
            """
            PRAGMA journal_mode = WAL;
            PRAGMA synchronous = OFF;
            PRAGMA cache_size = -65536;
            CREATE TABLE IF NOT EXISTS accepted (
                id BLOB PRIMARY KEY, topic TEXT, partition INTEGER, offset INTEGER) WITHOUT ROWID;
            CREATE TABLE IF NOT EXISTS taken (
                topic TEXT, partition INTEGER, next INTEGER, PRIMARY KEY (topic, partition)) WITHOUT ROWID;
            """
        )

    def __enter__(self) -> "UploadIndex":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def taken(self) -> dict[tuple[str, int], int]:
        """Topic and partition to the offset after the last that the index has heard of."""
        rows = self._database.execute("SELECT topic, partition, next FROM taken")
        return {(topic, partition): offset for topic, partition, offset in rows}

    def add(self, taken: Mapping[tuple[str, int], int], claims: Iterable[Claim]) -> None:
        """Remember committed records, all or none of them.

        Args:
            taken: topic and partition to the offset after the last of them.
            claims: of the accepted uploads among them; an id that is known keeps its first position.
        """
        self._database.execute("BEGIN")
        try:
            self._database.executemany(
                "INSERT OR IGNORE INTO accepted VALUES (?, ?, ?, ?)",
                ((_digest(upload), at.topic, at.partition, at.offset) for upload, at in claims),
            )
            self._database.executemany(
                "INSERT OR REPLACE INTO taken VALUES (?, ?, ?)",
                ((topic, partition, offset) for (topic, partition), offset in taken.items()),
            )
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def duplicates(self, claims: Sequence[Claim]) -> dict[Position, Position]:
        """Which claims repeat an accepted upload, and whose.

        A record that is delivered to this function again after a restart is not its own duplicate.

        Args:
            claims: of one micro-batch.

        Returns:
            position of each repeat, to the position of the upload it repeats.
        """
        repeats: dict[Position, Position] = {}
        firsts: dict[bytes, Position] = {}
        for upload, at in sorted(claims, key=lambda claim: claim[1]):
            digest = _digest(upload)
            first = firsts.get(digest) or self._first(digest) or at
            firsts[digest] = first
            if first != at:
                repeats[at] = first
        return repeats

    def _first(self, digest: bytes) -> Position | None:
        row = self._database.execute(
            "SELECT topic, partition, offset FROM accepted WHERE id = ?", (digest,)
        ).fetchone()
        return Position(*row) if row else None


def _digest(upload_id: str) -> bytes:
    """The hash of an id, or the one that stands in the ledger for an erased upload's."""
    erased = _ERASED.fullmatch(upload_id)
    if erased:
        return bytes.fromhex(erased[1])
    return blake2b(upload_id.encode(), digest_size=16).digest()
