"""Report of an ingestion: counts, throughput and lag."""

import threading
import time
from collections import deque
from dataclasses import dataclass, field

from streaming.ledger.ledger import BatchCounts

_WINDOW_SECONDS = 30.0


@dataclass(frozen=True)
class Lag:
    """Lag of the ledger behind the topic.

    Args:
        partitions: partition to the number of committed records in the topic that are not in the ledger.
        seconds: age of the oldest of them by its Kafka timestamp; 0 if there is none, None if it is unknown.
    """

    partitions: dict[int, int]
    seconds: float | None

    @property
    def records(self) -> int:
        """Records of all partitions that are not in the ledger."""
        return sum(self.partitions.values())


@dataclass
class IngestReport:
    """Counts and times of an ingestion so far.

    Args:
        records: number of verified Kafka records.
        accepted: number of accepted uploads.
        rejected: reason to number of uploads.
        batches: number of micro-batches committed to the ledger.
        ledger_seconds: from the start of the first micro-batch to the commit of the last.
        seconds: total time, with followers.
        lag_records, lag_seconds: lag behind the topic at the last check; None before the first, and the age
            where it is unknown.
        held_up: follower to the error with which it failed; it is restarted, and its work waits.
        lost: partition to first and last offset of the records that retention removed before they were
            ingested.
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
        """Add the counts of a micro-batch."""
        self.records += counts.records
        self.accepted += counts.accepted
        self.batches += 1
        # A new dict, because other threads read the old one.
        self.rejected = {
            reason: self.rejected.get(reason, 0) + counts.rejected.get(reason, 0)
            for reason in self.rejected | counts.rejected
        }

    def set_lag(self, lag: Lag) -> None:
        """Set the lag."""
        self.lag_records, self.lag_seconds = lag.records, lag.seconds

    def set_follower_failure(self, follower: str, error: str | None) -> None:
        """Set the error with which a follower failed; None after it was restarted."""
        others = {name: text for name, text in self.held_up.items() if name != follower}
        self.held_up = others if error is None else others | {follower: error}

    @property
    def images_per_second(self) -> float:
        """Records per second, from Kafka to the committed ledger."""
        return self.records / self.ledger_seconds if self.ledger_seconds else 0.0

    def top_reasons(self, count: int | None = None) -> list[tuple[str, int]]:
        """The most frequent reasons with their counts, in descending order."""
        return sorted(self.rejected.items(), key=lambda item: (-item[1], item[0]))[:count]


class Rate:
    """Records per second over the last 30 s, or since the start if that is shorter."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        self._lock = threading.Lock()

    def update(self, records: int) -> float:
        """Record the total number of records so far, and return the current rate."""
        with self._lock:
            now = time.monotonic()
            self._samples.append((now, records))
            while len(self._samples) > 2 and self._samples[1][0] < now - _WINDOW_SECONDS:
                self._samples.popleft()
            start, before = self._samples[0]
            return (records - before) / max(now - start, 1e-3)
