"""The queries that follow the ledger, started again when they fail; the ledger goes on meanwhile."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pyspark.sql.streaming.query import StreamingQuery

from streaming.checkpoint import differs
from streaming.errors import DamagedCheckpoint
from streaming.failures import cause

_PAUSES = 5.0, 10.0, 20.0, 40.0, 60.0  # seconds before a follower that failed again is started again


@dataclass
class _Follower:
    query: StreamingQuery
    failures: int = 0
    due: float | None = None


class Followers:
    """Followers that are started again after a failure.

    Args:
        begin: name to what starts the query.
        held_up: told a follower's name and why it failed, and None when it has been started again.
    """

    def __init__(
        self, begin: Mapping[str, Callable[[], StreamingQuery]], held_up: Callable[[str, str | None], None]
    ) -> None:
        self._begin = begin
        self._held_up = held_up
        self._running = {name: _Follower(start()) for name, start in begin.items()}

    def tend(self) -> None:
        """Note what has failed, and start again what has waited for long enough.

        Raises:
            DamagedCheckpoint: a follower cannot go on however often it is started.
        """
        for name, follower in self._running.items():
            if follower.query.isActive:
                if follower.failures and follower.query.lastProgress:
                    follower.failures = 0
            elif follower.due is None:
                error = follower.query.exception()
                if differs(str(error)):
                    raise DamagedCheckpoint(f"checkpoint of {name}: {cause(error) if error else 'stopped'}")
                pause = _PAUSES[min(follower.failures, len(_PAUSES) - 1)]
                follower.failures += 1
                follower.due = time.monotonic() + pause
                self._held_up(name, cause(error) if error else "it was stopped")
            elif time.monotonic() >= follower.due:
                follower.query, follower.due = self._begin[name](), None
                self._held_up(name, None)

    def finish(self, lost: threading.Event, look_seconds: float) -> dict[str, str]:
        """Wait until all have ended, or until what they write is no longer ours.

        Returns:
            name of each that failed, and why.
        """
        while any(each.query.isActive for each in self._running.values()) and not lost.wait(look_seconds):
            pass
        errors = {name: each.query.exception() for name, each in self._running.items()}
        return {name: cause(error) for name, error in errors.items() if error is not None}

    def stop(self) -> set[str]:
        """Stop all of them.

        Returns:
            their run ids.
        """
        for follower in self._running.values():
            follower.query.stop()
        return {str(follower.query.runId) for follower in self._running.values()}
