"""One organization or erasure of a lake at a time, beside whatever is ingested.

Both rewrite samples; and an erasure names the snapshots that hold a user's pictures and removes files that
no version needs any more: it would not know of a snapshot or of files that are just being written.
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
    """Hold the lake's snapshots while the block runs.

    Args:
        command: told to whoever comes second.

    Returns:
        a function to be called before something is made final; it raises InUse where a lease on S3 was lost.

    Raises:
        InUse: another process holds them; names it.
        StorageError: the lake's root cannot be written.
    """
    lost: list[str] = []

    def refuse_if_lost() -> None:
        if lost:
            raise InUse(f"stopped before anything was made final: {lost[0]}; run it again")

    place, seconds = settings.lake.at(NAME), settings.ingest.lease_seconds
    with lease.held(place, settings.s3, seconds, LockHolder.this(command), lost.append):
        yield refuse_if_lost


def refuse_if_held(settings: Settings) -> None:
    """Look before a slow start; only `held` keeps others out.

    Raises:
        InUse: another process holds the snapshots; names it.
        StorageError: the lake's root cannot be written.
    """
    place, seconds = settings.lake.at(NAME), settings.ingest.lease_seconds
    lease.refuse_if_held(place, settings.s3, seconds, LockHolder.this("organize"))
