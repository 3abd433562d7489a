"""Lock on a lake: only one ingestion or erasure runs on it at a time.

Docs: docs/decisions/007-one-ingestion-per-lake.md lists the guarantees.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from conf.settings import Settings
from lake.errors import InUse
from lake.locks import lease
from lake.locks.lock_holder import LockHolder
from streaming.errors import LakeInUse

NAME = "ingest.lock"


@contextmanager
def held(
    settings: Settings, command: str, on_loss: Callable[[str], None] = lambda why: None
) -> Iterator[None]:
    """Hold the lake's lock (a lease on S3) while the block runs.

    Args:
        command: name of this command, shown to a second process.
        on_loss: called with the reason, from another thread, when the lease could not be renewed.

    Raises:
        LakeInUse: another process holds the lock; the message names it.
        StorageError: the lake's root cannot be written.
    """
    uri, seconds = settings.lake.at(NAME), settings.ingest.lease_seconds
    holder = LockHolder.this_process(command, settings.spark.work_dir)
    with ExitStack() as stack:
        try:
            stack.enter_context(lease.held(uri, settings.s3, seconds, holder, on_loss))
        except InUse as error:
            raise LakeInUse(str(error)) from None
        yield


def refuse_if_held(settings: Settings) -> None:
    """Check the lock before a slow start; only `held` acquires it.

    Raises:
        LakeInUse: another process holds the lock; the message names it.
        StorageError: the lake's root cannot be written.
    """
    try:
        lease.refuse_if_held(
            settings.lake.at(NAME),
            settings.s3,
            settings.ingest.lease_seconds,
            LockHolder.this_process("ingest"),
        )
    except InUse as error:
        raise LakeInUse(str(error)) from None
