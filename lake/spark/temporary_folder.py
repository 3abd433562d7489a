"""The folder of a process for what its JVMs unpack, and for the sockets between them and Python workers.

Spark unpacks native libraries (snappy, zstd, netty) into `java.io.tmpdir`, by default /tmp. On hardened
machines /tmp is mounted noexec, and no library can be loaded from there. The path of a Unix socket has at
most 107 bytes.
"""

import atexit
import fcntl
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from conf.places import is_executable
from lake.errors import SparkUnavailable

_SOCKET_NAME = f".{'0' * 36}.sock"  # as long as the names that Spark gives
_OTHERS = ("/tmp", "/var/tmp", "/dev/shm")


@dataclass(frozen=True)
class TemporaryFolder:
    """A folder that is deleted at the end of this process; `java.io.tmpdir` of its JVMs.

    Args:
        path: libraries can be loaded from there.
        holds_sockets: whether Unix sockets can be created there; Spark otherwise uses TCP.
    """

    path: Path
    holds_sockets: bool


@cache
def of_process(work: Path) -> TemporaryFolder:
    """Create the folder of this process, below `spark.work_dir` if the place allows all that it must.

    Raises:
        SparkUnavailable: `spark.work_dir` cannot be written, or libraries can be loaded from no folder.
    """
    parent = work / "tmp"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with _locked(parent):  # otherwise a new folder could be taken for one that is left over
            _delete_left(parent)
            own = _create_locked(parent)
    except OSError as error:
        raise SparkUnavailable(
            f"cannot write {error.filename or work}: {error.strerror}; set HUB__SPARK__WORK_DIR to a folder "
            "that this user may write"
        ) from None
    places = [place for place in (own, *_other_places()) if is_executable(place)]
    if not places:
        raise SparkUnavailable(
            f"{work} is mounted noexec, as is {tempfile.gettempdir()}: Spark cannot load its native "
            "libraries; set HUB__SPARK__WORK_DIR to a folder on another file system"
        )
    with_sockets = next((place for place in places if _can_hold_sockets(place)), None)
    chosen = with_sockets or places[0]
    path = own if chosen == own else _deleted_at_exit(Path(tempfile.mkdtemp(prefix="hub-", dir=chosen)))
    return TemporaryFolder(path, with_sockets is not None)


def _other_places() -> list[Path]:
    """Other temporary folders that this user may write, the one of TMPDIR first."""
    return [Path(place) for place in (tempfile.gettempdir(), *_OTHERS) if os.access(place, os.W_OK | os.X_OK)]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks; then nothing is taken for left over
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _create_locked(parent: Path) -> Path:
    """Create a folder that is locked as long as this process lives."""
    folder = _deleted_at_exit(Path(tempfile.mkdtemp(dir=parent)))
    with suppress(OSError):
        fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    return folder


def _delete_left(parent: Path) -> None:
    """Delete folders that nobody has locked: their processes were killed."""
    for folder in parent.iterdir():
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def _deleted_at_exit(folder: Path) -> Path:
    atexit.register(_delete_own, folder, os.getpid())
    return folder


def _delete_own(folder: Path, owner: int) -> None:
    """Delete a folder, but not at the end of a forked process that has copied the registration."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def _can_hold_sockets(folder: Path) -> bool:
    """Whether a socket with a name such as Spark's can be created there; some shared folders hold none."""
    path = folder / f"hub-{os.getpid():010}{_SOCKET_NAME}"  # as long as with a folder of its own in between
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.bind(os.fspath(path))
            path.unlink()
        except (OSError, UnicodeError):
            return False
    return True
