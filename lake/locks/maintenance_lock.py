"""The maintenance lock: at most one `hub organize` or `hub erase` on a lake. Ingestion does not need it.

Both commands rewrite samples. And an erasure lists the dataset snapshots with a user's pictures and deletes
files that no table version uses: it would miss a snapshot, and delete files, that are just being written.
Docs: docs/decisions/006-erasure.md.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from conf.settings import Settings
from lake.errors import InUse
from lake.locks import lease
from lake.locks.lock_holder import LockHolder

NAME = "organize.lock"


@contextmanager
def held(settings: Settings, command: str) -> Iterator[Callable[[], None]]:
    """Hold the maintenance lock while the block runs.

    Args:
        command: shown to a second process that is refused.

    Yields:
        a function to be called before each step that cannot be undone; it raises InUse after the lease on S3
        was lost.

    Raises:
        InUse: another process holds the lock; the message names it.
        StorageError: the lake's root is not writable.
    """
    lost: list[str] = []

    def refuse_if_lost() -> None:
        if lost:
            raise InUse(f"stopped before anything was committed: {lost[0]}; run it again")

    uri, seconds = settings.lake.at(NAME), settings.ingest.lease_seconds
    holder = LockHolder.this_process(command, settings.spark.work_dir)
    with lease.held(uri, settings.s3, seconds, holder, lost.append):
        yield refuse_if_lost


def refuse_if_held(settings: Settings) -> None:
    """Check the lock before a slow start. Does not acquire it; only `held` does.

    Raises:
        InUse: another process holds the lock; the message names it.
        StorageError: the lake's root is not writable.
    """
    uri, seconds = settings.lake.at(NAME), settings.ingest.lease_seconds
    lease.refuse_if_held(uri, settings.s3, seconds, LockHolder.this_process("organize"))
