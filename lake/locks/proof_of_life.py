"""Proof that the holder of a lease still lives: a file that its process keeps locked.

The kernel releases the lock when the process ends, in whatever way. Each process of the same machine that can
open the file sees this, in another container, too. A process id proves less: another process may get the same
id later, and containers number their processes alike.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lake.locks.lock_holder import PROOF_FOLDER, LockHolder, boot_id


@contextmanager
def given(holder: LockHolder) -> Iterator[None]:
    """Keep the holder's proof file locked while the block runs; without a path there is no proof.

    A folder that cannot be written is no error: the lease of a killed holder then ends with its time.
    """
    descriptor = _locked_file(Path(holder.proof)) if holder.proof else None
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def has_ended(holder: LockHolder) -> bool:
    """Whether the holder's process has certainly ended. False if this machine cannot know."""
    if not holder.proof or not holder.boot or holder.boot != boot_id():
        return False
    try:
        descriptor = os.open(holder.proof, os.O_RDWR)
    except OSError:
        return False
    try:
        return _try_lock(descriptor)
    finally:
        os.close(descriptor)


def remove(holder: LockHolder) -> None:
    """Delete the proof file of a holder whose lease is over."""
    file = Path(holder.proof)
    if file.name == holder.nonce and file.parent.name == PROOF_FOLDER:  # others may have written the lease
        with suppress(OSError):
            file.unlink()


def _locked_file(file: Path) -> int | None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    except OSError:
        return None
    _try_lock(descriptor)
    return descriptor


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
