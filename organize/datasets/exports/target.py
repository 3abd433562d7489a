"""Where exports are written: a new folder, which is renamed when complete, or an object store."""

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from conf.sections import S3
from lake.errors import StorageError
from lake.storage import Storage
from models.inference import delivery
from organize.datasets.exports.pictures import File


@dataclass(frozen=True)
class Written:
    """The absolute path or URI that was written, its number of files and their size (bytes)."""

    path: str
    files: int
    bytes: int


def refuse_used(target: str, s3: S3) -> Storage:
    """The storage of a target that does not exist or is empty.

    Raises:
        ExportRefused: it is a file, or has files.
        StorageError: it cannot be accessed.
    """
    storage = Storage(target if "://" in target else str(Path(target).expanduser().absolute()), s3)
    delivery.refuse_used(storage, target)
    return storage


def write(storage: Storage, files: Iterable[File]) -> Written:
    """Write files, all or nothing.

    A folder is written under a hidden name beside the target and renamed when complete. An object store has
    no rename: what was written is deleted if something fails, and readers look for the last file.

    Args:
        storage: of an unused target.
        files: paths and contents, made one after the other; the last is written last.

    Raises:
        StorageError: a file cannot be written.
    """
    if "://" in storage.root:
        return _write_objects(storage, files)
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


def _write_objects(storage: Storage, files: Iterable[File]) -> Written:
    count, size = 0, 0
    try:
        for name, content in files:
            storage.write(name, content)
            count, size = count + 1, size + len(content)
    except BaseException:
        storage.delete_all()
        raise
    return Written(storage.root, count, size)
