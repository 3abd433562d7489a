"""Counters of a push: sent, acknowledged, failed."""

import threading
from dataclasses import dataclass, field


@dataclass
class PushReport:
    """Thread-safe counters of the records of a push.

    Args:
        sent: records passed to the producer.
        acknowledged: records that all in-sync replicas have written.
        unsent: pictures that could not be sent; they also count as failed.
        failed: records that were not acknowledged, and unsent pictures.
        bytes: of the acknowledged records' values.
        seconds: from the first record to the last acknowledgement.
        first_error: message of the first failure.
        interrupted: by Ctrl-C; the rest was not sent.
        gave_up: the cluster was unavailable for longer than records are retried; the rest was not sent.
    """

    sent: int = 0
    unsent: int = 0
    acknowledged: int = 0
    failed: int = 0
    bytes: int = 0
    seconds: float = 0.0
    first_error: str | None = None
    interrupted: bool = False
    gave_up: bool = False
    _final: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def images_per_second(self) -> float:
        """Acknowledged records per second."""
        return self.acknowledged / self.seconds if self.seconds else 0.0

    @property
    def in_flight(self) -> int:
        """Records that were sent and are neither acknowledged nor failed yet."""
        return self.sent + self.unsent - self.acknowledged - self.failed

    def count_acknowledged(self, size: int) -> None:
        """Count an acknowledged record of this size in bytes."""
        with self._lock:
            if not self._final:
                self.acknowledged += 1
                self.bytes += size

    def count_failed(self, why: str) -> None:
        """Count a failure and keep the first message."""
        with self._lock:
            if not self._final:
                self.failed += 1
                self.first_error = self.first_error or why

    def finish(self) -> None:
        """Count records in flight as failed; later callbacks are ignored."""
        with self._lock:
            self._final = True
            if self.in_flight:
                self.first_error = self.first_error or "no acknowledgement"
                self.failed += self.in_flight
