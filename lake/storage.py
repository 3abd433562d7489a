"""Files at a path or an s3a:// URI, through Arrow's file systems."""

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
    """Reads and writes whole files below a root; can be pickled and sent to executors.

    Args:
        root: absolute folder or s3a:// URI.
        s3: endpoint and region for s3a:// roots.
    """

    root: str
    s3: S3

    def below(self, *parts: str) -> "Storage":
        """The storage rooted at a folder below this one."""
        return Storage("/".join((self.root.rstrip("/"), *parts)), self.s3)

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            StorageError: it is not there or cannot be read.
        """
        filesystem, path = self._open(name)
        try:
            with filesystem.open_input_file(path) as file:
                return file.read()
        except OSError as error:
            raise StorageError(f"cannot read {self.root}/{name}: {_cause(error)}") from None

    def write(self, name: str, content: bytes) -> None:
        """Write a file so that a reader sees all of it or nothing.

        Raises:
            StorageError: the folder cannot be written.
        """
        filesystem, path = self._open(name)
        try:
            if isinstance(filesystem, fs.LocalFileSystem):
                _replace(Path(path), content)
            else:
                with filesystem.open_output_stream(path) as file:
                    file.write(content)
        except OSError as error:
            raise StorageError(f"cannot write {self.root}/{name}: {_cause(error)}") from None

    def read_json(self, name: str) -> dict[str, object]:
        """A file's JSON object."""
        value = json.loads(self.read(name))
        if not isinstance(value, dict):
            raise StorageError(f"{self.root}/{name} holds no JSON object")
        return value

    def write_json(self, name: str, value: Mapping[str, object]) -> None:
        """Write a JSON object, keys sorted, so that equal values give equal bytes."""
        self.write(name, (json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode())

    def upload(self, folder: Path) -> None:
        """Copy every file below a local folder to this root."""
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.write(file.relative_to(folder).as_posix(), file.read_bytes())

    def download(self, folder: Path) -> None:
        """Copy every file below this root to a local folder."""
        for name in self.names():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.read(name))

    def names(self) -> list[str]:
        """Paths of all files below the root, relative to it, sorted; empty where there is no root."""
        filesystem, path = self._open("")
        base = path.rstrip("/") + "/"
        selector = fs.FileSelector(path.rstrip("/"), recursive=True, allow_not_found=True)
        found = filesystem.get_file_info(selector)
        return sorted(info.path.removeprefix(base) for info in found if info.type == fs.FileType.File)

    def folders(self) -> list[str]:
        """Names of the folders directly below the root, sorted; empty where there is no root."""
        filesystem, path = self._open("")
        selector = fs.FileSelector(path.rstrip("/"), allow_not_found=True)
        found = filesystem.get_file_info(selector)
        return sorted(info.base_name for info in found if info.type == fs.FileType.Directory)

    def exists(self, name: str) -> bool:
        """Whether a file of this name is there."""
        filesystem, path = self._open(name)
        return filesystem.get_file_info(path).type == fs.FileType.File

    def delete(self) -> None:
        """Remove everything below the root."""
        filesystem, path = self._open("")
        if filesystem.get_file_info(path.rstrip("/")).type == fs.FileType.Directory:
            filesystem.delete_dir(path.rstrip("/"))

    def remove(self, *names: str) -> None:
        """Remove files that are there.

        Raises:
            StorageError: one cannot be removed.
        """
        for name in names:
            filesystem, path = self._open(name)
            try:
                filesystem.delete_file(path)
            except OSError as error:
                raise StorageError(f"cannot remove {self.root}/{name}: {_cause(error)}") from None

    def move(self, root: str) -> None:
        """Move everything below the root to another root of the same file system.

        On a local disk that is one step; on S3 files are copied, then removed.
        """
        filesystem, path = self._open("")
        other = Storage(root, self.s3)
        if isinstance(filesystem, fs.LocalFileSystem):
            filesystem.move(path.rstrip("/"), other._open("")[1].rstrip("/"))
            return
        for name in self.names():
            other.write(name, self.read(name))
        self.delete()

    def arrow(self, name: str) -> tuple[fs.FileSystem, str]:
        """Arrow's file system and path for a file, for pyarrow.parquet."""
        return self._open(name)

    def _open(self, name: str) -> tuple[fs.FileSystem, str]:
        scheme, separator, rest = self.root.partition("://")
        if not separator or scheme == "file":
            return fs.LocalFileSystem(), str(Path(rest if separator else self.root) / name)
        if scheme not in {"s3", "s3a"}:
            raise StorageError(f"cannot use {self.root!r}: the scheme must be s3a:// or none")
        return _s3(self.s3), f"{rest.rstrip('/')}/{name}".rstrip("/")


def is_name(text: str) -> bool:
    """Whether this names a folder directly below another, and no other place: an id, not a path."""
    return re.fullmatch(r"\w[\w.-]*", text) is not None


def _s3(settings: S3) -> fs.FileSystem:
    endpoint = settings.endpoint or None
    if endpoint:
        # Not every server that is not Amazon's knows the checksums that its library sends by itself.
        os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    scheme = "http" if endpoint and endpoint.startswith("http://") else "https"
    return fs.S3FileSystem(
        region=settings.region,
        endpoint_override=endpoint and endpoint.split("://")[-1],
        scheme=scheme,
        force_virtual_addressing=not settings.path_style,
        allow_bucket_creation=False,
    )


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _cause(error: OSError) -> str:
    return (error.strerror or str(error)).splitlines()[0]
