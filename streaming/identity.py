"""Which upload ids have been accepted before, and where: a local index of what the ledger says."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lake.erased import digest
from streaming.index import LocalIndex


class Position(NamedTuple):
    """Where a record lies in Kafka."""

    topic: str
    partition: int
    offset: int


Claim = tuple[str, Position]


class UploadIndex(LocalIndex):
    """Accepted upload ids and the position that had each first.

    Args:
        file: of the index; made where it is missing.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(
            file,
            """
            CREATE TABLE IF NOT EXISTS accepted (
                id BLOB PRIMARY KEY, topic TEXT, partition INTEGER, offset INTEGER) WITHOUT ROWID;
            CREATE TABLE IF NOT EXISTS taken (
                topic TEXT, partition INTEGER, next INTEGER, PRIMARY KEY (topic, partition)) WITHOUT ROWID;
            """,
        )

    def taken(self) -> dict[tuple[str, int], int]:
        """Topic and partition to the offset after the last that the index has heard of."""
        rows = self._database.execute("SELECT topic, partition, next FROM taken")
        return {(topic, partition): offset for topic, partition, offset in rows}

    def add(self, version: int, taken: Mapping[tuple[str, int], int], claims: Iterable[Claim]) -> None:
        """Remember committed records, all or none of them.

        Args:
            version: of the ledger that holds them.
            taken: topic and partition to the offset after the last of them.
            claims: of the accepted uploads among them; an id that is known keeps its first position.
        """
        with self._now_at(version):
            self._database.executemany(
                "INSERT OR IGNORE INTO accepted VALUES (?, ?, ?, ?)",
                ((digest(upload), at.topic, at.partition, at.offset) for upload, at in claims),
            )
            self._database.executemany(
                "INSERT OR REPLACE INTO taken VALUES (?, ?, ?)",
                ((topic, partition, offset) for (topic, partition), offset in taken.items()),
            )

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
            key = digest(upload)
            first = firsts.get(key) or self._first(key) or at
            firsts[key] = first
            if first != at:
                repeats[at] = first
        return repeats

    def _first(self, key: bytes) -> Position | None:
        row = self._database.execute(
            "SELECT topic, partition, offset FROM accepted WHERE id = ?", (key,)
        ).fetchone()
        return Position(*row) if row else None
