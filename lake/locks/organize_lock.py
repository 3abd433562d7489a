"""The lock on what is organized as uploads arrive: one process at a time gives samples their embeddings.

It is held for a chunk of images only, so that `hub organize --follow`, a `hub organize` that catches up and
an erasure take turns. An erasure holds it throughout: no embedding of a picture that is being erased appears.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from conf.settings import Settings
from lake.errors import InUse
from lake.locks import lease
from lake.locks.lock_holder import LockHolder

NAME, FOLLOW_NAME = "embeddings.lock", "follow.lock"

Turn = Callable[[], AbstractContextManager[object]]
"""Gives the lock for a block: what computes for long takes it only to write."""


@contextmanager
def held(settings: Settings, command: str) -> Iterator[Callable[[], None]]:
    """Hold the lock while the block runs; waits `organize.lock_seconds` for another process.

    Args:
        command: shown to a process that waited in vain.

    Yields:
        a function to be called before each commit; it raises InUse after the lease on S3 was lost.

    Raises:
        InUse: another process still holds the lock; the message names it.
        StorageError: the lake's root is not writable.
    """
    lost: list[str] = []

    def refuse_if_lost() -> None:
        if lost:
            raise InUse(f"stopped before the commit: {lost[0]}; run it again")

    holder = LockHolder.this_process(command, settings.spark.work_dir)
    uri, seconds = settings.lake.at(NAME), settings.ingest.lease_seconds
    patience = settings.organize.lock_seconds
    with lease.held_in_turn(uri, settings.s3, seconds, holder, patience, lost.append):
        yield refuse_if_lost


@contextmanager
def following(settings: Settings) -> Iterator[None]:
    """Be the only `hub organize --follow` of a lake while the block runs.

    Raises:
        InUse: another process follows the lake; the message names it.
        StorageError: the lake's root is not writable.
    """
    holder = LockHolder.this_process("organize --follow", settings.spark.work_dir)
    uri, seconds = settings.lake.at(FOLLOW_NAME), settings.ingest.lease_seconds
    with lease.held(uri, settings.s3, seconds, holder):
        yield
