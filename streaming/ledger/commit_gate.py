"""What keeps commits and the end of an ingestion apart."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from streaming.errors import IngestFailed


class CommitGate:
    """Lets commits through, one at a time, until it is closed.

    Spark ends a query by interrupting it wherever it is. A commit that is in the log by then, but not
    counted, would be missing from what the user is told.
    """

    def __init__(self) -> None:
        self._passing, self._closed = threading.Lock(), False

    @contextmanager
    def passage(self) -> Iterator[None]:
        """Keep the gate open while the block runs.

        Raises:
            IngestFailed: it is closed.
        """
        with self._passing:
            if self._closed:
                raise IngestFailed("stopped before this micro-batch was committed; the next ingest takes it")
            yield

    def close(self, seconds: float) -> None:
        """Let nothing more through; wait so long for what is on its way."""
        entered = self._passing.acquire(timeout=seconds)
        self._closed = True
        if entered:
            self._passing.release()
