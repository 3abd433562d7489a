"""The queries that follow the ledger, started again when they fail; the ledger goes on meanwhile."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql.streaming.query import StreamingQuery

from lake import tables
from lake.errors import StorageError
from streaming.errors import DamagedCheckpoint
from streaming.follow.query_failures import cause
from streaming.ledger.query_checkpoint import differs

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
        self._running: dict[str, _Follower] = {}

    def start(self) -> None:
        """Start all of them; whether or not it raises, they are to be stopped."""
        for name, begin in self._begin.items():
            self._running[name] = _Follower(begin())

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
                self._wait(name, follower, cause(error) if error else "it was stopped")
            elif time.monotonic() >= follower.due:
                self._begin_again(name, follower)

    def _begin_again(self, name: str, follower: _Follower) -> None:
        try:
            follower.query, follower.due = self._begin[name](), None
        except (PySparkException, Py4JJavaError, StorageError) as error:  # what it reads may be away, too
            self._wait(name, follower, tables.first_line(error))
        else:
            self._held_up(name, None)

    def _wait(self, name: str, follower: _Follower, why: str) -> None:
        follower.due = time.monotonic() + _PAUSES[min(follower.failures, len(_PAUSES) - 1)]
        follower.failures += 1
        self._held_up(name, why)

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
