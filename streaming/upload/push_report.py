"""What became of a push."""

import threading
from dataclasses import dataclass, field


@dataclass
class PushReport:
    """What became of the records.

    Args:
        sent: handed to the producer.
        acknowledged: written by all replicas the cluster asks for.
        unsent: too large to be sent; these count as failed, too.
        failed: sent and not acknowledged, or not sent.
        bytes: of the acknowledged records' values.
        seconds: from the first record to the last acknowledgement.
        first_error: why the first failed one did.
        interrupted: by Ctrl-C; the rest was not sent.
        gave_up: the cluster was away for longer than records are retried; the rest was not sent.
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
        """Acknowledged records each second."""
        return self.acknowledged / self.seconds if self.seconds else 0.0

    @property
    def in_flight(self) -> int:
        """Records that are sent and neither acknowledged nor failed."""
        return self.sent + self.unsent - self.acknowledged - self.failed

    def succeed(self, size: int) -> None:
        """Count an acknowledgement."""
        with self._lock:
            if not self._final:
                self.acknowledged += 1
                self.bytes += size

    def fail(self, why: str) -> None:
        """Count a failure."""
        with self._lock:
            if not self._final:
                self.failed += 1
                self.first_error = self.first_error or why

    def finish(self) -> None:
        """Count what is in flight as failed; what becomes of it later changes nothing."""
        with self._lock:
            self._final = True
            if self.in_flight:
                self.first_error = self.first_error or "no acknowledgement"
                self.failed += self.in_flight
