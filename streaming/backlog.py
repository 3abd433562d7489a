"""Committed records of a topic from given offsets on: their number, and the age of the oldest.

Offsets are no count of records: the markers of transactions have offsets, and so do the records of
transactions that were given up.
"""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from kafka import KafkaAdminClient, TopicPartition
from kafka.errors import TopicAuthorizationFailedError

from conf.sections import Kafka
from streaming import record_batches, topics
from streaming.record_batches import RecordBatch
from streaming.topics import Topic

_FETCH_BYTES = 1 << 20  # of one request; the broker returns a larger batch, too

# Limits of one count. Offsets that were not read count as a record each.
_LAG_BYTES, _LAG_SECONDS = 32 << 20, 0.5
_TOPIC_BYTES, _TOPIC_SECONDS = 256 << 20, 2.0


@dataclass(frozen=True)
class PartitionBacklog:
    """The committed records of a partition from an offset on.

    Args:
        records: their number.
        exact: whether all of them were counted; if not, `records` may include markers of transactions.
        oldest: Unix time of the first one; None if there is none, or if it has no time.
    """

    records: int
    exact: bool
    oldest: float | None


@dataclass
class _Scan:
    """The batches of a partition from `start` to `end`, as far as they were read."""

    start: int
    end: int
    batches: deque[RecordBatch] = field(default_factory=deque)
    size: int = 0  # of the batches (bytes)

    def move_to(self, start: int) -> None:
        """Forget the batches before an offset."""
        self.start = start
        while self.batches and self.batches[0].end <= start:
            self.size -= self.batches.popleft().size

    def add(self, batches: list[RecordBatch]) -> None:
        for batch in batches:
            self.batches.append(batch)
            self.size += batch.size
            self.end = max(self.end, batch.end)

    def backlog(self, end: int) -> PartitionBacklog:
        """The backlog up to the partition's end offset."""
        counted = sum(min(batch.records, batch.end - self.start) for batch in self.batches)
        oldest = next((batch.seconds for batch in self.batches if batch.records), None)
        return PartitionBacklog(counted + max(0, end - self.end), self.end >= end, oldest)

    @property
    def has_record(self) -> bool:
        return any(batch.records for batch in self.batches)


class Backlog:
    """Counts the committed records of a topic from given offsets on.

    It reads record batches and keeps their headers: a batch is read once while the offsets grow. Offsets
    after these batches count as a record each.

    Args:
        window_bytes: most bytes after the given offsets that are read.
        seconds: after which no further batch is read in one count.
    """

    def __init__(self, window_bytes: int = _LAG_BYTES, seconds: float = _LAG_SECONDS) -> None:
        self._window_bytes, self._seconds = window_bytes, seconds
        self._scans: dict[int, _Scan] = {}

    def count(
        self, client: KafkaAdminClient, topic: Topic, starts: Mapping[int, int]
    ) -> dict[int, PartitionBacklog]:
        """Count up to the first open transaction of each partition.

        Args:
            topic: as it is now.
            starts: partition to offset.

        Raises:
            KafkaError: a partition cannot be read.
        """
        self._scans = {p: self._moved(p, max(start, topic.offsets[p][0])) for p, start in starts.items()}
        self._read(client, topic)
        return {p: scan.backlog(topic.stable[p]) for p, scan in self._scans.items()}

    def _moved(self, partition: int, start: int) -> _Scan:
        scan = self._scans.get(partition)
        if scan is None or not scan.start <= start <= scan.end:
            return _Scan(start, start)
        scan.move_to(start)
        return scan

    def _read(self, client: KafkaAdminClient, topic: Topic) -> None:
        deadline = time.monotonic() + self._seconds
        unread = {p: scan for p, scan in self._scans.items() if scan.end < topic.stable[p]}
        while unread and time.monotonic() < deadline:
            window_full = sum(scan.size for scan in self._scans.values()) >= self._window_bytes
            # The oldest record of each partition is needed in any case.
            wanted = {p: scan for p, scan in unread.items() if not (window_full and scan.has_record)}
            if not wanted:
                return
            for number, scan in wanted.items():
                at = TopicPartition(topic.name, number)
                batches = record_batches.fetch(client, topic.leaders[number], at, scan.end, _FETCH_BYTES)
                scan.add(batches)
                if not batches or scan.end >= topic.stable[number]:
                    del unread[number]


@dataclass(frozen=True)
class TopicCount:
    """The records of a topic.

    Args:
        topic: with its partitions and offsets.
        records: number of committed records.
        exact: whether all were counted; if not, `records` may include markers of transactions.
    """

    topic: Topic
    records: int
    exact: bool

    @property
    def undecided(self) -> int:
        """Offsets after the first open transaction of each partition: they cannot be ingested yet."""
        return sum(end - self.topic.stable[p] for p, (_, end) in self.topic.offsets.items())


def count_records(kafka: Kafka, bootstrap: str) -> list[TopicCount]:
    """Count the records of those of the hub's topics that exist.

    Raises:
        BrokerUnreachable: no broker answers at the address.
        StreamingError: the cluster refuses.
    """
    with topics.admin_client(kafka, bootstrap) as client:
        counts = []
        for topic in topics.describe_with(client, topics.names(kafka)):
            starts = {p: begin for p, (begin, _) in topic.offsets.items()}
            try:
                found = Backlog(_TOPIC_BYTES, _TOPIC_SECONDS).count(client, topic, starts).values()
                records, exact = sum(each.records for each in found), all(each.exact for each in found)
            except TopicAuthorizationFailedError:  # this login may describe the topic, but not read it
                records, exact = sum(topic.stable.values()) - sum(starts.values()), False
            counts.append(TopicCount(topic, records, exact))
    return counts
