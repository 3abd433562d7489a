"""Where exports are written, all or nothing: a new folder, or an unused prefix of an object store."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from conf.sections import S3
from conf.settings import Settings
from lake.errors import StorageError
from lake.locks import lease
from lake.locks.lock_holder import LockHolder
from lake.storage import Storage
from models.errors import ExportRefused

INCOMPLETE = ".incomplete"  # in an object store while an export is written; a killed one leaves it
LEASE = ".lease"  # there, too: one export at a time writes to a place
File = tuple[str, bytes]  # path relative to the target, and content


@dataclass(frozen=True)
class Written:
    """The absolute path or URI that was written, its number of files and their size (bytes)."""

    path: str
    files: int
    bytes: int


def write(target: str, files: Iterable[File], settings: Settings, command: str) -> Written:
    """Write files to a target that does not exist or is empty, all or nothing.

    A folder is written under a hidden name beside the target and renamed when complete. An object store has
    no rename: readers look for the last file, and the object `.incomplete` is there until that is written.
    The next export to the same place deletes what a killed one left.

    Args:
        target: folder, or s3:// URI of a prefix.
        files: made one after the other; the last is written last.
        settings: of the hub.
        command: shown to another process that wants to write there.

    Raises:
        ExportRefused: the target is a file, or has files.
        InUse: another process exports to this prefix.
        StorageError: the target cannot be accessed, or a file cannot be written.
    """
    storage = storage_of(target, settings.s3)
    if "://" not in storage.root:
        _refuse_used(storage, target)
        return _write_folder(storage, files)
    with _leased(storage, settings, command) as raise_if_lost:
        if storage.exists(INCOMPLETE):
            _delete(storage)
        else:
            _refuse_used(storage, target)
        return _write_objects(storage, files, raise_if_lost)


def storage_of(target: str, s3: S3) -> Storage:
    """The storage of a target."""
    if "://" in target and not target.startswith("file://"):
        return Storage(target.rstrip("/"), s3)
    return Storage(str(Path(target.removeprefix("file://")).expanduser().absolute()), s3)


@contextmanager
def _leased(storage: Storage, settings: Settings, command: str) -> Iterator[Callable[[], None]]:
    """Hold the lease of a prefix; yields a function that raises once it is lost."""
    lost: list[str] = []

    def raise_if_lost() -> None:
        if lost:
            raise StorageError(f"stopped: {lost[0]}; run the same command again")

    uri = f"s3a://{storage.root.partition('://')[2]}/{LEASE}"
    holder = LockHolder.this_process(command, settings.spark.work_dir)
    with lease.held(uri, settings.s3, settings.train.lease_seconds, holder, lost.append):
        yield raise_if_lost


def _refuse_used(storage: Storage, target: str) -> None:
    try:
        used = storage.exists("") or any(name != LEASE for name in storage.list_files())
    except OSError as error:
        raise StorageError(f"cannot access {target}: {' '.join(str(error).split())[:200]}") from None
    if used:
        raise ExportRefused(f"--to {target} exists and is not empty: name another target, or empty this one")


def _write_folder(storage: Storage, files: Iterable[File]) -> Written:
    target = Path(storage.root)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{target.name}.", dir=target.parent, ignore_cleanup_errors=True
        ) as hidden:
            local = Path(hidden) / target.name
            count, size = 0, 0
            for name, content in files:
                path = local / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                count, size = count + 1, size + len(content)
            local.replace(target)
    except OSError as error:
        raise StorageError(f"cannot write {target}: {error.strerror or error}") from None
    return Written(storage.root, count, size)


def _write_objects(storage: Storage, files: Iterable[File], raise_if_lost: Callable[[], None]) -> Written:
    storage.write(INCOMPLETE, b"")
    count, size = 0, 0
    try:
        for name, content in files:
            raise_if_lost()
            storage.write(name, content)
            count, size = count + 1, size + len(content)
    except BaseException:
        raise_if_lost()  # what is there now is another export's
        _delete(storage)
        raise
    storage.delete_files(INCOMPLETE)
    return Written(storage.root, count, size)


def _delete(storage: Storage) -> None:
    """Delete all but the lease, the mark of an incomplete export last."""
    names = [name for name in storage.list_files() if name not in (LEASE, INCOMPLETE)]
    # Some servers list folders as files, which cannot be deleted.
    storage.delete_files(*(name for name in names if storage.exists(name)), INCOMPLETE)
