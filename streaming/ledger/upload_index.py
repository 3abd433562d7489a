"""Which upload ids have been accepted before, and where: a local index of what the ledger says."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from streaming.ledger.local_index import LocalIndex

Row = tuple[bytes, str, int, int]  # a claim's key, topic, partition and offset


class Position(NamedTuple):
    """Where a record lies in Kafka."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True)
class AcceptedUploads:
    """The accepted uploads of a micro-batch, in columns: objects take longer to make than to look for.

    Args:
        keys: `lake.erasure.erased_ids.digest` of each id.
        topics, partitions, offsets: where each lies.
    """

    keys: list[bytes]
    topics: list[str]
    partitions: list[int]
    offsets: list[int]

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Row]:
        return zip(self.keys, self.topics, self.partitions, self.offsets, strict=True)

    def without(self, repeats: Container[Position]) -> Iterator[Row]:
        """The rows of those that do not lie at one of the positions."""
        return (row for row in self if Position(*row[1:]) not in repeats)


_AT_ONCE = 4096  # keys that one query asks for


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
        self._beside = ThreadPoolExecutor(1, "index")
        self._adding: Future[None] | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:  # else that error is the first cause
                self._settle()
        finally:
            self._beside.shutdown()
            super().__exit__(kind, error, trace)

    def taken(self) -> dict[tuple[str, int], int]:
        """Topic and partition to the offset after the last that the index has heard of."""
        self._settle()
        rows = self._database.execute("SELECT topic, partition, next FROM taken")
        return {(topic, partition): offset for topic, partition, offset in rows}

    def clear(self) -> None:
        """Forget everything."""
        self._settle()
        with self._now_at(-1):
            self._database.execute("DELETE FROM accepted")
            self._database.execute("DELETE FROM taken")

    def add(self, version: int, taken: Mapping[tuple[str, int], int], claims: Iterable[Row]) -> None:
        """Remember committed records, all or none of them.

        Args:
            version: of the ledger that holds them.
            taken: topic and partition to the offset after the last of them.
            claims: of the accepted uploads among them; an id that is known keeps its first position.
        """
        with self._now_at(version):
            self._database.executemany(
                "INSERT OR IGNORE INTO accepted VALUES (?, ?, ?, ?)",
                claims,  # of a whole ledger: never all at once
            )
            self._database.executemany(
                "INSERT OR REPLACE INTO taken VALUES (?, ?, ?)",
                ((topic, partition, offset) for (topic, partition), offset in taken.items()),
            )

    def add_beside(self, version: int, taken: Mapping[tuple[str, int], int], claims: Iterable[Row]) -> None:
        """`add`, while the caller goes on; who asks the index next waits for it, and meets its error."""
        self._settle()
        # Sorted, since neighbours lie on one page.
        self._adding = self._beside.submit(lambda: self.add(version, taken, sorted(claims)))

    def _settle(self) -> None:
        adding, self._adding = self._adding, None
        if adding:
            adding.result()

    def duplicates(self, claims: AcceptedUploads) -> dict[Position, Position]:
        """Which claims repeat an accepted upload, and whose.

        A record that is delivered to this function again after a restart is not its own duplicate.

        Args:
            claims: of one micro-batch.

        Returns:
            position of each repeat, to the position of the upload it repeats.
        """
        self._settle()
        firsts = self._firsts(claims.keys)
        if not firsts and len(set(claims.keys)) == len(claims):
            return {}
        repeats: dict[Position, Position] = {}
        for key, topic, partition, offset in sorted(claims, key=itemgetter(1, 2, 3)):
            place = Position(topic, partition, offset)
            first = firsts.setdefault(key, place)
            if first != place:
                repeats[place] = first
        return repeats

    def _firsts(self, keys: Sequence[bytes]) -> dict[bytes, Position]:
        """Of those that are known, where they were first."""
        found: dict[bytes, Position] = {}
        for start in range(0, len(keys), _AT_ONCE):
            asked = keys[start : start + _AT_ONCE]
            marks = ",".join("?" * len(asked))
            rows = self._database.execute(
                f"SELECT id, topic, partition, offset FROM accepted WHERE id IN ({marks})", asked
            )
            found |= {key: Position(*place) for key, *place in rows}
        return found
