"""Restarts failed followers with backoff, while ingestion continues."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql.streaming.query import StreamingQuery

from lake import tables
from lake.errors import LakeError
from lake.job_failures import root_cause
from streaming.errors import DamagedCheckpoint
from streaming.ledger.query_checkpoint import is_checksum_error

_PAUSES = 5.0, 10.0, 20.0, 40.0, 60.0  # seconds before each further restart of a follower


@dataclass
class _RunningFollower:
    query: StreamingQuery
    failures: int = 0  # in a row
    restart_at: float | None = None  # monotonic time


class FollowerSupervisor:
    """Runs followers and restarts those that fail.

    Args:
        starters: follower name to the function that starts its query.
        on_failure: called with a follower's name and the reason of its failure, or None after its restart.
    """

    def __init__(
        self,
        starters: Mapping[str, Callable[[], StreamingQuery]],
        on_failure: Callable[[str, str | None], None],
    ) -> None:
        self._starters = starters
        self._on_failure = on_failure
        self._running: dict[str, _RunningFollower] = {}

    def start(self) -> None:
        """Start all followers. The caller must call `stop`, even if this raises."""
        for name, start in self._starters.items():
            self._running[name] = _RunningFollower(start())

    def restart_failed(self) -> None:
        """Check all followers once: report new failures, and restart followers whose pause is over.

        Raises:
            DamagedCheckpoint: a follower's checkpoint is damaged, so no restart would help.
        """
        for name, follower in self._running.items():
            if follower.query.isActive:
                if follower.failures and follower.query.lastProgress:
                    follower.failures = 0
            elif follower.restart_at is None:
                error = follower.query.exception()
                if is_checksum_error(str(error)):
                    raise DamagedCheckpoint(
                        f"checkpoint of {name}: {root_cause(error) if error else 'stopped'}"
                    )
                self._schedule_restart(name, follower, root_cause(error) if error else "it was stopped")
            elif time.monotonic() >= follower.restart_at:
                self._restart(name, follower)

    def _restart(self, name: str, follower: _RunningFollower) -> None:
        try:
            follower.query, follower.restart_at = self._starters[name](), None
        except (PySparkException, Py4JJavaError, LakeError) as error:  # the lake may be unavailable
            self._schedule_restart(name, follower, tables.first_line(error))
        else:
            self._on_failure(name, None)

    def _schedule_restart(self, name: str, follower: _RunningFollower, why: str) -> None:
        follower.restart_at = time.monotonic() + _PAUSES[min(follower.failures, len(_PAUSES) - 1)]
        follower.failures += 1
        self._on_failure(name, why)

    def finish(self, lost: threading.Event, poll_seconds: float) -> dict[str, str]:
        """Wait until all followers have ended, or until the lease on the lake is lost.

        Returns:
            names of the followers that failed, each with its error.
        """
        while any(each.query.isActive for each in self._running.values()) and not lost.wait(poll_seconds):
            pass
        errors = {name: each.query.exception() for name, each in self._running.items()}
        return {name: root_cause(error) for name, error in errors.items() if error is not None}

    def stop(self) -> set[str]:
        """Stop all followers.

        Returns:
            their run ids.
        """
        for follower in self._running.values():
            follower.query.stop()
        return {str(follower.query.runId) for follower in self._running.values()}
