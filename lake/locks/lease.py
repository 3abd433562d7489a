"""Mutual exclusion between processes: an OS file lock on a local path, a lease object on S3.

Docs: docs/decisions/007-one-ingestion-per-lake.md describes what each of the two guarantees.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from conf.sections import S3
from lake.errors import InUse, StorageError
from lake.locks.lock_holder import LockHolder
from lake.locks.s3_lease import S3Lease

_TRIES, _PAUSE_SECONDS = 5, 0.05
_POLL_SECONDS = 0.2


@contextmanager
def held(
    uri: str,
    s3: S3,
    seconds: float,
    holder: LockHolder,
    on_loss: Callable[[str], None] = lambda why: None,
    shared: bool = False,
) -> Iterator[None]:
    """Hold a lock or a lease while the block runs.

    Args:
        uri: of a lock file or, on s3a://, of a lease object.
        s3: endpoint and region of the latter.
        seconds: for which a lease is valid after a renewal.
        holder: shown to a second process that is refused.
        on_loss: called with the reason, from another thread, when a lease on S3 was lost.
        shared: others may share a lock file at the same time; a lease is never shared.

    Raises:
        InUse: another process holds it; the message names it.
        StorageError: it is not writable.
    """
    if uri.startswith("s3a://"):
        with S3Lease(uri, s3, seconds, on_loss).hold(holder):
            yield
    else:
        with _file_lock(Path(uri), holder, shared):
            yield


@contextmanager
def held_in_turn(
    uri: str,
    s3: S3,
    seconds: float,
    holder: LockHolder,
    patience: float,
    on_loss: Callable[[str], None] = lambda why: None,
    shared: bool = False,
) -> Iterator[None]:
    """Hold a lock or a lease while the block runs, as `held`, after waiting for those who hold it.

    Args:
        patience: seconds to wait at most.

    Raises:
        InUse: another process still holds it; the message names it.
        StorageError: it is not writable.
    """
    deadline = time.monotonic() + patience
    while True:
        own = held(uri, s3, seconds, holder, on_loss, shared)
        try:
            own.__enter__()
            break
        except InUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        own.__exit__(None, None, None)


def refuse_if_held(uri: str, s3: S3, seconds: float, holder: LockHolder) -> None:
    """Check a lock or a lease before a slow start. Does not acquire it; only `held` does.

    Raises:
        InUse: another process holds it; the message names it.
        StorageError: it is not writable.
    """
    if uri.startswith("s3a://"):
        S3Lease(uri, s3, seconds, print).refuse_if_held()
    else:
        with _file_lock(Path(uri), holder):
            return


@contextmanager
def _file_lock(file: Path, holder: LockHolder, shared: bool = False) -> Iterator[None]:
    """Hold an advisory lock of the OS; it is released when the process ends, even by SIGKILL."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StorageError(
            f"cannot write {file}: {error.strerror}; "
            "set HUB__LAKE__ROOT to a location that this user may write"
        ) from None
    try:
        if not _try_lock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
            other = LockHolder.from_json(os.pread(descriptor, 4096, 0))
            raise InUse(
                f"{file.parent} is in use by {other}: wait until it ends or stop it (kill -INT {other.pid})"
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder.to_json(), 0)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, kind: int) -> bool:
    """Try to lock the file, a few times: `refuse_if_held` of another process may hold it for a moment."""
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_SECONDS)
        else:
            return True
    return False
