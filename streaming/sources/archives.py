"""Opens archives; reads pictures from tar archives, one member at a time, with limits against bombs."""

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, cast

from conf.sections import Push
from streaming.errors import BadSource
from streaming.sources import xz
from streaming.sources.archive_file import ArchiveFile, unpack_budget
from streaming.sources.bounded_stream import BoundedStream, UnpackedTooLarge
from streaming.sources.items import Item, Skipped, Source, printable
from streaming.sources.labels.labelling import Labelling
from streaming.sources.picture_files import HEAD_BYTES, content_decides, is_picture, skip_reason
from streaming.sources.zip_archive import ZipArchive, ends_as_zip, is_zip

__all__ = ["ArchiveFile", "TarArchive", "open_archive"]

_DAMAGE = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)


@dataclass(frozen=True)
class TarArchive:
    """The pictures of a tar file, plain or compressed by gzip, bzip2 or xz."""

    file: ArchiveFile
    limits: Push
    labelling: Labelling = field(default_factory=Labelling)
    root: str = field(default="", init=False)

    def items(self, skipped: Skipped, names_only: bool = False) -> Iterator[Item]:
        """Read every picture in one sequential pass; hostile members are skipped.

        After damage the next tar header cannot be found, so the rest of the archive is skipped.

        Raises:
            BadSource: the first header cannot be read.
        """
        name = ""
        with self.file.open() as packed:
            stream = _stream(packed, unpack_budget(packed, self.limits))
            try:
                with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r:", encoding="utf-8") as archive:
                    while (member := archive.next()) is not None:
                        archive.members = []  # type: ignore[attr-defined]  # tarfile would keep every header
                        name = printable(member.name)
                        yield from self._read(stream, member, skipped, names_only)
                if stream.last_header.strip(b"\0"):
                    skipped.add("rest of a damaged archive", f"after {name}")
                elif stream.has_more():
                    skipped.add("what follows the end of the archive", f"after {name}")
            except UnpackedTooLarge:
                skipped.add("rest of an archive that explodes", f"after {name}")
            except _DAMAGE as error:
                if not name:
                    raise BadSource(f"{self.file}: cannot be read as a tar file: {error}") from None
                skipped.add("rest of a damaged archive", f"after {name}")

    def _read(
        self, stream: BoundedStream, member: tarfile.TarInfo, skipped: Skipped, names_only: bool
    ) -> Iterator[Item]:
        if member.isdir():
            return
        name = printable(member.name)
        reason, content = skip_reason(name) or self._skip_reason(member), b""
        if reason is None and not (names_only and not content_decides(name)):
            content = stream.read_member(member.offset_data, min(member.size, HEAD_BYTES))
            if not is_picture(name, content):
                reason = "no picture by its content"
            elif not names_only:
                content += stream.read_member(stream.tell(), member.size - len(content))
        if reason is None:
            yield self.labelling.item(name, b"" if names_only else content)
        else:
            skipped.add(reason, name)

    def _skip_reason(self, member: tarfile.TarInfo) -> str | None:
        if not member.isfile() or member.issparse():
            return "link or device"
        return "member that explodes" if not 0 <= member.size <= self.limits.member_limit else None


def _is_tar(file: ArchiveFile) -> bool:
    with file.open() as packed:
        try:
            stream = _stream(packed, 1 << 20)
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

    What only ends as a zip is one, too, unless it is a tar: its last member may be a zip.

    Raises:
        BadSource: decompression needs too much memory.
    """
    if is_zip(file):
        return ZipArchive(file, limits, labelling)
    if _is_tar(file):
        return TarArchive(file, limits, labelling)
    return ZipArchive(file, limits, labelling) if ends_as_zip(file) else None


def _stream(packed: IO[bytes], budget: int) -> BoundedStream:
    size, content = packed.seek(0, 2), _decompressed(packed)
    return BoundedStream(content, budget, size if content is packed else None)


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
