"""What an ingestion did, and how far it is behind."""

import threading
import time
from collections import deque
from dataclasses import dataclass, field

from streaming.ledger.ledger import BatchCounts

_WINDOW_SECONDS = 30.0


@dataclass(frozen=True)
class Lag:
    """How far the ledger is behind the topic.

    Args:
        partitions: partition to the records in the topic that are not in the ledger.
        seconds: age of the oldest of them, by the time Kafka or the phone's producer stamped on it; 0 when
            there is none.
    """

    partitions: dict[int, int]
    seconds: float

    @property
    def records(self) -> int:
        """Of all partitions."""
        return sum(self.partitions.values())


@dataclass
class IngestReport:
    """What an ingestion did so far.

    Args:
        records: Kafka records judged.
        accepted: of them.
        rejected: reason to count.
        batches: micro-batches committed to the ledger.
        ledger_seconds: from the start of the first to the commit of the last.
        seconds: the whole, followers included.
        lag_records, lag_seconds: behind the topic when it was last looked at; None before that.
        held_up: follower to why it failed; it is started again, and what it has to do waits for it.
        lost: records that retention removed before they were taken, partition to first and last offset.
    """

    records: int = 0
    accepted: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    batches: int = 0
    ledger_seconds: float = 0.0
    seconds: float = 0.0
    lag_records: int | None = None
    lag_seconds: float | None = None
    lost: dict[int, tuple[int, int]] = field(default_factory=dict)
    held_up: dict[str, str] = field(default_factory=dict)

    def add(self, counts: BatchCounts) -> None:
        """Count one more micro-batch."""
        self.records += counts.records
        self.accepted += counts.accepted
        self.batches += 1
        # A new dict each time: others read it from their threads.
        self.rejected = {
            reason: self.rejected.get(reason, 0) + counts.rejected.get(reason, 0)
            for reason in self.rejected | counts.rejected
        }

    def behind(self, lag: Lag) -> None:
        """Note how far behind it is."""
        self.lag_records, self.lag_seconds = lag.records, lag.seconds

    def held_up_by(self, follower: str, why: str | None) -> None:
        """Note that a follower has failed, or without a why that it has been started again."""
        others = {name: text for name, text in self.held_up.items() if name != follower}
        self.held_up = others if why is None else others | {follower: why}

    @property
    def images_per_second(self) -> float:
        """Records from Kafka to the committed ledger, each second."""
        return self.records / self.ledger_seconds if self.ledger_seconds else 0.0

    def most_rejected(self, count: int | None = None) -> list[tuple[str, int]]:
        """Reasons with their counts, most frequent first."""
        return sorted(self.rejected.items(), key=lambda item: (-item[1], item[0]))[:count]


class Rate:
    """Records a second over the last 30 s, or since the start where that is less."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        self._lock = threading.Lock()

    def at(self, records: int) -> float:
        """The rate now that so many records were taken in all."""
        with self._lock:
            now = time.monotonic()
            self._seen.append((now, records))
            while len(self._seen) > 2 and self._seen[1][0] < now - _WINDOW_SECONDS:
                self._seen.popleft()
            begun, before = self._seen[0]
            return (records - before) / max(now - begun, 1e-3)
