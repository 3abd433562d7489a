"""Read pictures from zip and tar archives, one member at a time, with limits against decompression bombs."""

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, cast

from conf.sections import Push
from streaming.errors import BadSource
from streaming.sources import xz
from streaming.sources.bounded_stream import BoundedStream, UnpackedTooLarge
from streaming.sources.items import Item, Labelling, Skipped, Source, is_picture, printable, skip_reason

# Of a first member, an empty zip, and a split zip in one part. A file that only ends as a zip is not a zip.
_ZIP_SIGNATURES = (b"PK\3\4", b"PK\5\6", b"PK00PK\3\4")
_RATIO_FLOOR = 1 << 20  # bytes; the ratio limit does not apply to smaller members
_DIRECTORY_LIMIT = 1 << 27  # bytes of a zip's directory, which zipfile loads whole: about 1.4 million members
_UTF8_NAME = 0x800
_ENCRYPTED = 0x1
_UNIX = 3
# zipfile decompresses bzip2 and LZMA members without a limit, so a small member could fill the memory.
_SAFE_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)


@dataclass(frozen=True)
class ArchiveFile:
    """An archive on disk or in a bucket.

    Args:
        name: path or URI, for messages.
        open: opens it for reading as a seekable file.
    """

    name: str
    open: Callable[[], IO[bytes]]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class ZipArchive:
    """The pictures of a zip file."""

    file: ArchiveFile
    limits: Push
    labelling: Labelling = field(default_factory=Labelling)

    def items(self, skipped: Skipped) -> Iterator[Item]:
        """Read every picture; hostile and damaged members are skipped.

        Raises:
            BadSource: its directory cannot be read or is too large.
        """
        with self.file.open() as file, self._open(file) as archive:
            budget, seen_offsets = _unpack_budget(file, self.limits), set[int]()
            for member in archive.infolist():
                if member.is_dir():
                    continue
                name = _zip_name(member)
                reason, content = skip_reason(name) or self._skip_reason(member), b""
                if reason is None and member.header_offset in seen_offsets:
                    reason = "member that is another one's"
                if reason is None:
                    seen_offsets.add(member.header_offset)
                    budget -= member.file_size  # zipfile never unpacks more
                    if budget < 0:
                        skipped.add("rest of an archive that explodes", f"from {name}")
                        return
                    reason, content = self._read(archive, member)
                if reason is None and not is_picture(name, content):
                    reason = "no picture by its content"
                if reason is None:
                    yield Item(name, content, self.labelling.label_of(name))
                else:
                    skipped.add(reason, name)

    def _open(self, file: IO[bytes]) -> zipfile.ZipFile:
        directory = _directory_bytes(file)
        if directory > _DIRECTORY_LIMIT:
            raise BadSource(
                f"{self.file}: its directory has {directory:,} bytes, at most {_DIRECTORY_LIMIT:,} are "
                "allowed; split it, or give a tar or a folder"
            )
        try:
            return zipfile.ZipFile(file)
        except (*_DAMAGE, NotImplementedError) as error:
            raise BadSource(f"{self.file}: cannot be read as a zip file: {error}") from None

    def _skip_reason(self, member: zipfile.ZipInfo) -> str | None:
        if member.flag_bits & _ENCRYPTED:
            return "encrypted member"
        if member.compress_type not in _SAFE_METHODS:
            return "member neither stored nor deflated"
        kind = stat.S_IFMT(member.external_attr >> 16) if member.create_system == _UNIX else 0
        if kind not in (0, stat.S_IFREG):
            return "link or device"
        return "member that explodes" if member.file_size > self._size_limit(member) else None

    def _size_limit(self, member: zipfile.ZipInfo) -> int:
        by_ratio = self.limits.ratio_limit * member.compress_size
        return min(self.limits.member_limit, max(_RATIO_FLOOR, by_ratio))

    def _read(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[str | None, bytes]:
        """The skip reason or None, and the content."""
        limit = self._size_limit(member)
        try:
            with archive.open(member) as file:
                content = file.read(limit + 1)
        except (*_DAMAGE, NotImplementedError, RuntimeError):
            return "damaged member", b""
        return ("member that explodes", b"") if len(content) > limit else (None, content)


@dataclass(frozen=True)
class TarArchive:
    """The pictures of a tar file, plain or compressed by gzip, bzip2 or xz."""

    file: ArchiveFile
    limits: Push
    labelling: Labelling = field(default_factory=Labelling)

    def items(self, skipped: Skipped) -> Iterator[Item]:
        """Read every picture in one sequential pass; hostile members are skipped.

        After damage the next tar header cannot be found, so the rest of the archive is skipped.

        Raises:
            BadSource: the first header cannot be read.
        """
        name = ""
        with self.file.open() as packed:
            budget = _unpack_budget(packed, self.limits)
            stream = BoundedStream(_decompressed(packed), budget)
            try:
                with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r:", encoding="utf-8") as archive:
                    while (member := archive.next()) is not None:
                        archive.members = []  # type: ignore[attr-defined]  # tarfile would keep every header
                        name = printable(member.name)
                        yield from self._read(stream, member, skipped)
                if stream.last_header.strip(b"\0"):
                    skipped.add("rest of a damaged archive", f"after {name}")
            except UnpackedTooLarge:
                skipped.add("rest of an archive that explodes", f"after {name}")
            except _DAMAGE as error:
                if not name:
                    raise BadSource(f"{self.file}: cannot be read as a tar file: {error}") from None
                skipped.add("rest of a damaged archive", f"after {name}")

    def _read(self, stream: BoundedStream, member: tarfile.TarInfo, skipped: Skipped) -> Iterator[Item]:
        if member.isdir():
            return
        name = printable(member.name)
        reason, content = skip_reason(name) or self._skip_reason(member), b""
        if reason is None:
            content = stream.read_member(member.offset_data, member.size)
            reason = None if is_picture(name, content) else "no picture by its content"
        if reason is None:
            yield Item(name, content, self.labelling.label_of(name))
        else:
            skipped.add(reason, name)

    def _skip_reason(self, member: tarfile.TarInfo) -> str | None:
        if not member.isfile() or member.issparse():
            return "link or device"
        return "member that explodes" if not 0 <= member.size <= self.limits.member_limit else None


def _is_zip(file: ArchiveFile) -> bool:
    with file.open() as packed:
        return packed.read(max(map(len, _ZIP_SIGNATURES))).startswith(_ZIP_SIGNATURES)


def _is_tar(file: ArchiveFile) -> bool:
    with file.open() as packed:
        try:
            stream = BoundedStream(_decompressed(packed), 1 << 20)
            with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r:"):
                return True
        except xz.XzMemoryExceeded:
            raise BadSource(
                f"{file}: decompression needs more than {xz.MEMORY_LIMIT >> 20} MiB for its dictionary; "
                "compress it again with `xz -9` or less"
            ) from None
        except (UnpackedTooLarge, *_DAMAGE):
            return False


def open_archive(file: ArchiveFile, limits: Push, labelling: Labelling) -> Source | None:
    """Open a zip or tar, detected by its first bytes; None if it is neither.

    Raises:
        BadSource: decompression needs too much memory.
    """
    if _is_zip(file):
        return ZipArchive(file, limits, labelling)
    return TarArchive(file, limits, labelling) if _is_tar(file) else None


def _unpack_budget(packed: IO[bytes], limits: Push) -> int:
    """Maximum bytes to unpack from an archive in total."""
    return max(limits.member_limit, limits.ratio_limit * packed.seek(0, 2))


def _decompressed(packed: IO[bytes]) -> IO[bytes]:
    """The tar inside. Unlike tarfile's own readers, these never decompress more than a read asks for."""
    packed.seek(0)
    magic = packed.read(6)
    packed.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=packed))
    if magic.startswith(b"BZh"):
        return cast("IO[bytes]", bz2.BZ2File(packed))
    if magic == b"\xfd7zXZ\0":
        return xz.open_xz(packed)
    return packed


def _zip_name(member: zipfile.ZipInfo) -> str:
    """A member's path with `/` as separator. Many zips contain UTF-8 names without the UTF-8 flag."""
    name = member.filename
    if not member.flag_bits & _UTF8_NAME:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return printable(name.replace("\\", "/"))


def _directory_bytes(file: IO[bytes]) -> int:
    """Size of a zip's central directory in bytes, from its end record.

    Source: APPNOTE.TXT 6.3.10, sections 4.3.14 to 4.3.16.
    """
    size = file.seek(0, 2)
    file.seek(max(0, size - (1 << 16) - 200))
    tail = file.read()
    end = tail.rfind(b"PK\5\6")
    if end < 0:
        return 0  # zipfile raises a better error
    offset, width = end + 12, 4
    if tail[max(end - 20, 0) : end].startswith(b"PK\6\7"):
        offset, width = end - 20 - 56 + 40, 8  # ZIP64: the 32-bit field may contain anything
    return int.from_bytes(tail[offset : offset + width], "little")
