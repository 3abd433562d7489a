"""Pictures in zip and tar files, one member at a time, within limits that no header can talk its way past."""

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, cast

from conf.sections import Push
from streaming.errors import BadSource
from streaming.sources import xz
from streaming.sources.bounded_stream import BoundedStream, UnpackedTooLarge
from streaming.sources.items import Item, Labelling, Skipped, Source, is_picture, printable, unwanted

# A zip's first member, the end of one without members, and what begins one that was to be split. What merely
# ends as a zip is another file that has one in it.
_ZIP = (b"PK\3\4", b"PK\5\6", b"PK00PK\3\4")
_RATIO_FLOOR = 1 << 20  # a small member may be packed as well as it likes (bytes)
_DIRECTORY_LIMIT = 1 << 27  # bytes of a zip's directory, which zipfile reads whole: some 1.4 million members
_UTF8_NAME = 0x800
_ENCRYPTED = 0x1
_UNIX = 3
# bzip2 and LZMA members are unpacked by zipfile without a bound, so a small one could fill the memory.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)


@dataclass(frozen=True)
class Packed:
    """An archive's file, wherever it lies.

    Args:
        name: path or URI, for messages.
        open: opens it for reading; what it gives can be sought in.
    """

    name: str
    open: Callable[[], IO[bytes]]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class ZipArchive:
    """Pictures in a zip file."""

    file: Packed
    limits: Push
    labelling: Labelling = field(default_factory=Labelling)

    def items(self, skipped: Skipped) -> Iterator[Item]:
        """Read every picture; hostile and damaged members are left out.

        Raises:
            BadSource: its directory cannot be read or is absurdly large.
        """
        with self.file.open() as file, self._opened(file) as archive:
            budget, read = _budget(file, self.limits), set[int]()
            for member in archive.infolist():
                if member.is_dir():
                    continue
                name = _zip_name(member)
                reason, content = unwanted(name) or self._refusal(member), b""
                if reason is None and member.header_offset in read:
                    reason = "member that is another one's"
                if reason is None:
                    read.add(member.header_offset)
                    budget -= member.file_size  # never more is unpacked
                    if budget < 0:
                        skipped.add("rest of an archive that explodes", f"from {name}")
                        return
                    reason, content = self._content(archive, member)
                if reason is None and not is_picture(name, content):
                    reason = "no picture by its content"
                if reason is None:
                    yield Item(name, content, self.labelling.of(name))
                else:
                    skipped.add(reason, name)

    def _opened(self, file: IO[bytes]) -> zipfile.ZipFile:
        directory = _directory_bytes(file)
        if directory > _DIRECTORY_LIMIT:
            raise BadSource(
                f"{self.file}: its directory has {directory:,} bytes, at most {_DIRECTORY_LIMIT:,} are read; "
                "split it, or give a tar or a folder"
            )
        try:
            return zipfile.ZipFile(file)
        except (*_DAMAGED, NotImplementedError) as error:
            raise BadSource(f"{self.file}: cannot be read as a zip file: {error}") from None

    def _refusal(self, member: zipfile.ZipInfo) -> str | None:
        if member.flag_bits & _ENCRYPTED:
            return "encrypted member"
        if member.compress_type not in _METHODS:
            return "member neither stored nor deflated"
        kind = stat.S_IFMT(member.external_attr >> 16) if member.create_system == _UNIX else 0
        if kind not in (0, stat.S_IFREG):
            return "link or device"
        return "member that explodes" if member.file_size > self._most(member) else None

    def _most(self, member: zipfile.ZipInfo) -> int:
        return min(
            self.limits.member_limit, max(_RATIO_FLOOR, self.limits.ratio_limit * member.compress_size)
        )

    def _content(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[str | None, bytes]:
        """The reason to leave it out, or its content."""
        most = self._most(member)
        try:
            with archive.open(member) as file:
                content = file.read(most + 1)
        except (*_DAMAGED, NotImplementedError, RuntimeError):
            return "damaged member", b""
        return ("member that explodes", b"") if len(content) > most else (None, content)


@dataclass(frozen=True)
class TarArchive:
    """Pictures in a tar file, plain or packed by gzip, bzip2 or xz."""

    file: Packed
    limits: Push
    labelling: Labelling = field(default_factory=Labelling)

    def items(self, skipped: Skipped) -> Iterator[Item]:
        """Read every picture as the archive streams through; hostile members are left out.

        What follows damage in a tar cannot be found again, so it is left out as a whole.

        Raises:
            BadSource: not even the first header can be read.
        """
        name = ""
        with self.file.open() as packed:
            budget = _budget(packed, self.limits)
            stream = BoundedStream(_unpacked(packed), budget)
            try:
                with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r:", encoding="utf-8") as archive:
                    while (member := archive.next()) is not None:
                        archive.members = []  # type: ignore[attr-defined]  # it would keep every header
                        name = printable(member.name)
                        yield from self._item(stream, member, name, skipped)
                if stream.last.strip(b"\0"):
                    skipped.add("rest of a damaged archive", f"after {name}")
            except UnpackedTooLarge:
                skipped.add("rest of an archive that explodes", f"after {name}")
            except _DAMAGED as error:
                if not name:
                    raise BadSource(f"{self.file}: cannot be read as a tar file: {error}") from None
                skipped.add("rest of a damaged archive", f"after {name}")

    def _item(
        self, stream: BoundedStream, member: tarfile.TarInfo, name: str, skipped: Skipped
    ) -> Iterator[Item]:
        if member.isdir():
            return
        reason, content = unwanted(name) or self._refusal(member), b""
        if reason is None:
            content = stream.take(member.offset_data, member.size)
            reason = None if is_picture(name, content) else "no picture by its content"
        if reason is None:
            yield Item(name, content, self.labelling.of(name))
        else:
            skipped.add(reason, name)

    def _refusal(self, member: tarfile.TarInfo) -> str | None:
        if not member.isfile() or member.issparse():
            return "link or device"
        return "member that explodes" if not 0 <= member.size <= self.limits.member_limit else None


def is_zip(file: Packed) -> bool:
    """Whether a file begins as a zip."""
    with file.open() as packed:
        return packed.read(max(map(len, _ZIP))).startswith(_ZIP)


def is_tar(file: Packed) -> bool:
    """Whether a file begins as a tar, packed or not.

    Raises:
        BadSource: unpacking it takes too much memory.
    """
    with file.open() as packed:
        try:
            with tarfile.open(
                fileobj=cast("IO[bytes]", BoundedStream(_unpacked(packed), 1 << 20)), mode="r:"
            ):
                return True
        except xz.TakesMemory:
            raise BadSource(
                f"{file}: its dictionary takes more than {xz.MEMORY >> 20} MiB to unpack; "
                "pack it again, by `xz -9` or less"
            ) from None
        except (UnpackedTooLarge, *_DAMAGED):
            return False


def archive(file: Packed, limits: Push, labelling: Labelling) -> Source | None:
    """The zip or tar that a file is by its beginning, or None.

    Raises:
        BadSource: unpacking it takes too much memory.
    """
    if is_zip(file):
        return ZipArchive(file, limits, labelling)
    return TarArchive(file, limits, labelling) if is_tar(file) else None


def _budget(packed: IO[bytes], limits: Push) -> int:
    """Bytes that may be unpacked of an archive in all."""
    return max(limits.member_limit, limits.ratio_limit * packed.seek(0, 2))


def _unpacked(packed: IO[bytes]) -> IO[bytes]:
    """The tar inside; these readers, unlike tarfile's own, never unpack more than they are asked for."""
    packed.seek(0)
    magic = packed.read(6)
    packed.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=packed))
    if magic.startswith(b"BZh"):
        return cast("IO[bytes]", bz2.BZ2File(packed))
    if magic == b"\xfd7zXZ\0":
        return xz.opened(packed)
    return packed


def _zip_name(member: zipfile.ZipInfo) -> str:
    """A member's path with `/`; many zips hold UTF-8 names without the flag that says so."""
    name = member.filename
    if not member.flag_bits & _UTF8_NAME:
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            name = member.filename
    return printable(name.replace("\\", "/"))


def _directory_bytes(file: IO[bytes]) -> int:
    """Bytes of a zip's central directory, as its end record states them.

    Source: APPNOTE.TXT 6.3.10, sections 4.3.14 to 4.3.16.
    """
    size = file.seek(0, 2)
    file.seek(max(0, size - (1 << 16) - 200))
    tail = file.read()
    end = tail.rfind(b"PK\5\6")
    if end < 0:
        return 0  # zipfile says better what is wrong
    at, width = end + 12, 4
    if tail[max(end - 20, 0) : end].startswith(b"PK\6\7"):
        at, width = end - 20 - 56 + 40, 8  # ZIP64: the old field may hold anything
    return int.from_bytes(tail[at : at + width], "little")
