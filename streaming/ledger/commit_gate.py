"""`CommitGate`: a lock that lets a running commit finish before an ingestion stops."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from streaming.errors import IngestFailed


class CommitGate:
    """Allows one commit at a time, and none once it is closed.

    Spark stops a query by interrupting it at any point. A commit that is already in the Delta log but not yet
    counted would be missing from the report.
    """

    def __init__(self) -> None:
        self._lock, self._closed = threading.Lock(), False

    @contextmanager
    def commit_section(self) -> Iterator[None]:
        """Run the block as a commit: `close` waits for its end.

        Raises:
            IngestFailed: the gate is closed.
        """
        with self._lock:
            if self._closed:
                raise IngestFailed(
                    "stopped before this micro-batch was committed; the next ingest processes it"
                )
            yield

    def close(self, timeout: float) -> None:
        """Close the gate; first wait up to `timeout` seconds for a running commit."""
        acquired = self._lock.acquire(timeout=timeout)
        self._closed = True
        if acquired:
            self._lock.release()
