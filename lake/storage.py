"""File storage on a local disk or on S3 (s3a://), through Arrow's file systems."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pyarrow import fs

from conf.sections import S3
from lake.errors import StorageError


@dataclass(frozen=True)
class Storage:
    """Reads and writes whole files below a root folder; can be pickled and sent to executors.

    Args:
        root: absolute folder or s3a:// URI.
        s3: endpoint and region for s3a:// roots.
    """

    root: str
    s3: S3

    def subfolder(self, *names: str) -> "Storage":
        """The storage whose root is a folder below this root."""
        return Storage("/".join((self.root.rstrip("/"), *names)), self.s3)

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            StorageError: the file does not exist or cannot be read.
        """
        filesystem, path = self.resolve(name)
        try:
            with filesystem.open_input_file(path) as file:
                return file.read()
        except OSError as error:
            raise StorageError(f"cannot read {self.root}/{name}: {_cause(error)}") from None

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically: a reader sees all of it or nothing.

        Raises:
            StorageError: the folder is not writable.
        """
        filesystem, path = self.resolve(name)
        try:
            if isinstance(filesystem, fs.LocalFileSystem):
                _write_atomically(Path(path), content)
            else:
                with filesystem.open_output_stream(path) as file:
                    file.write(content)
        except OSError as error:
            raise StorageError(f"cannot write {self.root}/{name}: {_cause(error)}") from None

    def read_json(self, name: str) -> dict[str, object]:
        """Read a file that holds one JSON object."""
        value = json.loads(self.read(name))
        if not isinstance(value, dict):
            raise StorageError(f"{self.root}/{name} holds no JSON object")
        return value

    def write_json(self, name: str, value: Mapping[str, object]) -> None:
        """Write a JSON object with sorted keys, so that equal values give equal bytes."""
        self.write(name, (json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode())

    def upload(self, folder: Path) -> None:
        """Copy every file below a local folder to this root."""
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.write(file.relative_to(folder).as_posix(), file.read_bytes())

    def download(self, folder: Path) -> None:
        """Copy every file below this root to a local folder."""
        for name in self.list_files():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.read(name))

    def list_files(self) -> list[str]:
        """Paths of all files below the root, relative to it, sorted; empty if the root does not exist."""
        filesystem, path = self.resolve("")
        base = path.rstrip("/") + "/"
        selector = fs.FileSelector(path.rstrip("/"), recursive=True, allow_not_found=True)
        infos = filesystem.get_file_info(selector)
        return sorted(info.path.removeprefix(base) for info in infos if info.type == fs.FileType.File)

    def list_folders(self) -> list[str]:
        """Names of the folders directly below the root, sorted; empty if the root does not exist."""
        filesystem, path = self.resolve("")
        selector = fs.FileSelector(path.rstrip("/"), allow_not_found=True)
        infos = filesystem.get_file_info(selector)
        return sorted(info.base_name for info in infos if info.type == fs.FileType.Directory)

    def exists(self, name: str) -> bool:
        """Whether a file of this name exists."""
        filesystem, path = self.resolve(name)
        return filesystem.get_file_info(path).type == fs.FileType.File

    def delete_all(self) -> None:
        """Delete the root folder and everything below it."""
        filesystem, path = self.resolve("")
        if filesystem.get_file_info(path.rstrip("/")).type == fs.FileType.Directory:
            filesystem.delete_dir(path.rstrip("/"))

    def delete_files(self, *names: str) -> None:
        """Delete files.

        Raises:
            StorageError: a file does not exist or cannot be deleted.
        """
        for name in names:
            filesystem, path = self.resolve(name)
            try:
                filesystem.delete_file(path)
            except OSError as error:
                raise StorageError(f"cannot remove {self.root}/{name}: {_cause(error)}") from None

    def move(self, root: str) -> None:
        """Move everything below the root to another root on the same file system.

        On a local disk the move is atomic. On S3 the files are copied, then deleted.
        """
        filesystem, path = self.resolve("")
        other = Storage(root, self.s3)
        if isinstance(filesystem, fs.LocalFileSystem):
            filesystem.move(path.rstrip("/"), other.resolve("")[1].rstrip("/"))
            return
        for name in self.list_files():
            other.write(name, self.read(name))
        self.delete_all()

    def resolve(self, name: str) -> tuple[fs.FileSystem, str]:
        """Arrow's file system for a file, and the file's path in it, for example for pyarrow.parquet."""
        scheme, separator, rest = self.root.partition("://")
        if not separator or scheme == "file":
            return fs.LocalFileSystem(), str(Path(rest if separator else self.root) / name)
        if scheme not in {"s3", "s3a"}:
            raise StorageError(f"cannot use {self.root!r}: the scheme must be s3a:// or none")
        return _s3_filesystem(self.s3), f"{rest.rstrip('/')}/{name}".rstrip("/")


def is_plain_name(text: str) -> bool:
    """Whether a text is a plain file or folder name, such as an id: no path, no `..`, not hidden."""
    return re.fullmatch(r"\w[\w.-]*", text) is not None


def _s3_filesystem(settings: S3) -> fs.FileSystem:
    endpoint = settings.endpoint or None
    if endpoint:
        # Some S3-compatible servers do not support the checksums that Amazon's library sends by default.
        os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    scheme = "http" if endpoint and endpoint.startswith("http://") else "https"
    return fs.S3FileSystem(
        region=settings.region,
        endpoint_override=endpoint and endpoint.split("://")[-1],
        scheme=scheme,
        force_virtual_addressing=not settings.path_style,
        allow_bucket_creation=False,
    )


def _write_atomically(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _cause(error: OSError) -> str:
    return (error.strerror or str(error)).splitlines()[0]
