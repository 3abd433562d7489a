"""One ingest or erasure for one lake at a time.

Docs: docs/decisions/007-one-ingest.md says what is guaranteed.
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
    """Hold the lake while the block runs.

    Args:
        command: told to whoever comes second.
        on_loss: called with why, from another thread, when a lease on S3 could not be kept.

    Raises:
        LakeInUse: another process holds it; names it.
        StorageError: the lake's root cannot be written.
    """
    place, seconds = settings.lake.at(NAME), settings.ingest.lease_seconds
    with ExitStack() as stack:
        try:
            stack.enter_context(lease.held(place, settings.s3, seconds, LockHolder.this(command), on_loss))
        except InUse as error:
            raise LakeInUse(str(error)) from None
        yield


def refuse_if_held(settings: Settings) -> None:
    """Look before a slow start; only `held` keeps others out.

    Raises:
        LakeInUse: another process holds the lake; names it.
        StorageError: the lake's root cannot be written.
    """
    try:
        lease.refuse_if_held(
            settings.lake.at(NAME), settings.s3, settings.ingest.lease_seconds, LockHolder.this("ingest")
        )
    except InUse as error:
        raise LakeInUse(str(error)) from None
