"""Reads pictures from zip archives, one member at a time, with limits against decompression bombs."""

import stat
import struct
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from conf.sections import Push
from streaming.errors import BadSource
from streaming.sources.archive_file import ArchiveFile, unpack_budget
from streaming.sources.items import Item, Skipped, printable
from streaming.sources.labels.labelling import Labelling
from streaming.sources.picture_files import HEAD_BYTES, content_decides, is_picture, skip_reason
from streaming.sources.zip_directory import NoDirectory, ZipDirectory, ZipEntry

# Of a first member, an empty zip, and a split zip in one part.
_SIGNATURES = (b"PK\3\4", b"PK\5\6", b"PK00PK\3\4")
_LOCAL_HEADER, _LOCAL_BYTES = b"PK\3\4", 30
_RATIO_FLOOR = 1 << 20  # bytes; the ratio limit does not apply to smaller members
_CHUNK_BYTES = 1 << 16  # read at once
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # the member, strongly, or the directory
_STORED, _DEFLATED, _AES = 0, 8, 99
_SHARED = "member that is another one's"


class DamagedMember(Exception):
    """The content of a member cannot be read."""


@dataclass(frozen=True)
class ZipArchive:
    """The pictures of a zip file."""

    file: ArchiveFile
    limits: Push
    labelling: Labelling = field(default_factory=Labelling)
    root: str = field(default="", init=False)

    def items(self, skipped: Skipped, names_only: bool = False) -> Iterator[Item]:
        """Read every picture; hostile and damaged members are skipped.

        Raises:
            BadSource: its directory cannot be read or is too large.
        """
        with self.file.open() as file:
            members, budget, name = self._members(file), unpack_budget(file, self.limits), ""
            for entry in members.directory.entries():
                if isinstance(entry, str):
                    skipped.add(entry, f"after {name}")
                    continue
                name = printable(entry.name)
                if entry.is_folder:
                    continue
                reason, content = skip_reason(entry.name) or self._skip_reason(entry), b""
                if reason is None and not members.claim(entry):
                    reason = _SHARED
                if reason is None:
                    budget -= entry.size  # never more is unpacked
                    if budget < 0:
                        skipped.add("rest of an archive that explodes", f"from {name}")
                        return
                    reason, content = _read(members, entry, name, names_only)
                if reason is None:
                    yield self.labelling.item(name, content)
                else:
                    skipped.add(reason, name)

    def _members(self, file: IO[bytes]) -> "_Members":
        try:
            return _Members(file, ZipDirectory.read(file))
        except (NoDirectory, OSError) as error:
            raise BadSource(f"{self.file}: cannot be read as a zip file: {error}") from None

    def _skip_reason(self, entry: ZipEntry) -> str | None:
        if entry.flags & _ENCRYPTED or entry.method == _AES:
            return "encrypted member"
        if entry.method not in {_STORED, _DEFLATED}:
            return "member neither stored nor deflated"
        if entry.kind not in {0, stat.S_IFREG}:
            return "link or device"
        limit = min(self.limits.member_limit, max(_RATIO_FLOOR, self.limits.ratio_limit * entry.packed))
        too_large = entry.size > limit or entry.packed > entry.size + _RATIO_FLOOR
        return "member that explodes" if too_large else None


def is_zip(file: ArchiveFile) -> bool:
    """Whether a file begins as a zip."""
    with file.open() as packed:
        return packed.read(max(map(len, _SIGNATURES))).startswith(_SIGNATURES)


def ends_as_zip(file: ArchiveFile) -> bool:
    """Whether a file ends with the directory of a zip, as programs do that unpack themselves."""
    with file.open() as packed:
        try:
            return bool(ZipDirectory.read(packed).content)
        except (NoDirectory, OSError):
            return False


def _read(members: "_Members", entry: ZipEntry, name: str, names_only: bool) -> tuple[str | None, bytes]:
    """The skip reason or None, and the content."""
    try:
        if content_decides(name) and not is_picture(name, members.beginning(entry)):
            return "no picture by its content", b""
        return None, b"" if names_only else members.content(entry)
    except (DamagedMember, zlib.error, OSError):
        return "damaged member", b""


class _Members:
    """The members of an open zip file.

    Args:
        file: the archive.
        directory: its directory.
    """

    def __init__(self, file: IO[bytes], directory: ZipDirectory) -> None:
        self.directory = directory
        self._file = file
        entries = (entry for entry in directory.entries() if isinstance(entry, ZipEntry) and entry.packed)
        self._offsets = array("Q", sorted({entry.offset for entry in entries}))
        self._claimed: set[int] = set()

    def claim(self, entry: ZipEntry) -> bool:
        """Whether the entry's bytes are its own: no entry before has them, and no other entry begins in them.

        With offsets that lack a multiple of 4 GiB, only the former is checked.
        """
        following = bisect_right(self._offsets, entry.offset)
        end = entry.offset + _LOCAL_BYTES + entry.packed
        overlaps = following < len(self._offsets) and end > self._offsets[following]
        if entry.offset in self._claimed or (overlaps and not self.directory.wraps):
            return False
        self._claimed.add(entry.offset)
        return True

    def beginning(self, entry: ZipEntry) -> bytes:
        """The first bytes of a member, unchecked."""
        return b"".join(self._unpack(entry, min(HEAD_BYTES, entry.size)))

    def content(self, entry: ZipEntry) -> bytes:
        """The content of a member; at most one byte more than the directory states is unpacked.

        Raises:
            DamagedMember: it is not there, or its size or checksum differs from the directory.
        """
        content = b"".join(self._unpack(entry, entry.size + 1))
        if len(content) != entry.size or zlib.crc32(content) != entry.crc:
            raise DamagedMember
        return content

    def _unpack(self, entry: ZipEntry, most: int) -> Iterator[bytes]:
        self._seek(entry)
        packed_left, inflater = entry.packed, zlib.decompressobj(-zlib.MAX_WBITS)
        while most > 0 and packed_left > 0 and not inflater.eof:
            packed = self._file.read(min(_CHUNK_BYTES, packed_left))
            if not packed:
                raise DamagedMember
            packed_left -= len(packed)
            while packed and most > 0:
                chunk = packed[:most] if entry.method == _STORED else inflater.decompress(packed, most)
                packed = b"" if entry.method == _STORED else inflater.unconsumed_tail
                most -= len(chunk)
                yield chunk

    def _seek(self, entry: ZipEntry) -> None:
        """Go to the first byte of a member. Names in local headers may differ from those in the directory."""
        for position in self.directory.positions(entry):
            self._file.seek(position)
            header = self._file.read(_LOCAL_BYTES)
            if len(header) == _LOCAL_BYTES and header.startswith(_LOCAL_HEADER):
                name_length, extra_length = struct.unpack("<2H", header[26:30])
                if not self.directory.wraps or self._file.read(name_length) == entry.raw_name:
                    self._file.seek(position + _LOCAL_BYTES + name_length + extra_length)
                    return
        raise DamagedMember
