"""Local index of the accepted upload ids in the ledger, which finds duplicate uploads."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from streaming.ledger.local_index import LocalIndex

AcceptedRow = tuple[bytes, str, int, int]  # digest of the id, topic, partition, offset


class Position(NamedTuple):
    """Position of a record in Kafka."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True)
class AcceptedUploads:
    """The accepted uploads of a micro-batch, in columns: creating an object for each would be slower.

    Args:
        keys: `lake.erasure.erased_ids.digest` of each upload id.
        topics, partitions, offsets: Kafka position of each upload.
    """

    keys: list[bytes]
    topics: list[str]
    partitions: list[int]
    offsets: list[int]

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[AcceptedRow]:
        return zip(self.keys, self.topics, self.partitions, self.offsets, strict=True)

    def without(self, duplicates: Container[Position]) -> Iterator[AcceptedRow]:
        """The rows of the uploads that are not at one of these positions."""
        return (row for row in self if Position(*row[1:]) not in duplicates)


_KEYS_PER_QUERY = 4096


class UploadIndex(LocalIndex):
    """Accepted upload ids, each with the position of its first upload.

    Args:
        file: of the SQLite database; created if it is missing.
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
        self._executor = ThreadPoolExecutor(1, "index")
        self._pending_add: Future[None] | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:  # otherwise the error of the block is the first cause
                self._wait_for_add()
        finally:
            self._executor.shutdown()
            super().__exit__(kind, error, trace)

    def next_offsets(self) -> dict[tuple[str, int], int]:
        """Topic and partition to the offset after the last record in the index."""
        self._wait_for_add()
        rows = self._database.execute("SELECT topic, partition, next FROM taken")
        return {(topic, partition): offset for topic, partition, offset in rows}

    def clear(self) -> None:
        """Delete all entries."""
        self._wait_for_add()
        with self._transaction(-1):
            self._database.execute("DELETE FROM accepted")
            self._database.execute("DELETE FROM taken")

    def add(
        self, version: int, next_offsets: Mapping[tuple[str, int], int], accepted: Iterable[AcceptedRow]
    ) -> None:
        """Add committed records in one transaction.

        Args:
            version: table version of the ledger that has them.
            next_offsets: topic and partition to the offset after the last of them.
            accepted: the accepted uploads among them; a known id keeps its first position.
        """
        with self._transaction(version):
            self._database.executemany(
                "INSERT OR IGNORE INTO accepted VALUES (?, ?, ?, ?)",
                accepted,  # an iterator: a whole ledger does not fit in memory
            )
            self._database.executemany(
                "INSERT OR REPLACE INTO taken VALUES (?, ?, ?)",
                ((topic, partition, offset) for (topic, partition), offset in next_offsets.items()),
            )

    def add_in_background(
        self, version: int, next_offsets: Mapping[tuple[str, int], int], accepted: Iterable[AcceptedRow]
    ) -> None:
        """Run `add` in a background thread; the next call waits for it and raises its error."""
        self._wait_for_add()
        # Sorted, because neighbouring keys are on the same page.
        self._pending_add = self._executor.submit(lambda: self.add(version, next_offsets, sorted(accepted)))

    def _wait_for_add(self) -> None:
        pending, self._pending_add = self._pending_add, None
        if pending:
            pending.result()

    def find_duplicates(self, accepted: AcceptedUploads) -> dict[Position, Position]:
        """Find uploads whose id was accepted before, in an earlier micro-batch or in this one.

        A record that is passed again after a restart is not a duplicate of itself.

        Args:
            accepted: the accepted uploads of one micro-batch.

        Returns:
            position of each duplicate, to the position of the first upload with its id.
        """
        self._wait_for_add()
        firsts = self._first_positions(accepted.keys)
        if not firsts and len(set(accepted.keys)) == len(accepted):
            return {}
        duplicates: dict[Position, Position] = {}
        for key, topic, partition, offset in sorted(accepted, key=itemgetter(1, 2, 3)):
            position = Position(topic, partition, offset)
            first = firsts.setdefault(key, position)
            if first != position:
                duplicates[position] = first
        return duplicates

    def _first_positions(self, keys: Sequence[bytes]) -> dict[bytes, Position]:
        """Map each known key to its first position."""
        positions: dict[bytes, Position] = {}
        for start in range(0, len(keys), _KEYS_PER_QUERY):
            batch = keys[start : start + _KEYS_PER_QUERY]
            placeholders = ",".join("?" * len(batch))
            rows = self._database.execute(
                f"SELECT id, topic, partition, offset FROM accepted WHERE id IN ({placeholders})", batch
            )
            positions |= {key: Position(*position) for key, *position in rows}
        return positions
