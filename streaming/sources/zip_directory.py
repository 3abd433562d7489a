"""Reads the directory of a zip file leniently, as unzip and 7-Zip do.

zipfile refuses a whole archive for one wrong extra field or name. Here a name is read by any means, extra
fields that are not needed are ignored, and the entries before and after a damaged one are found.

Source: APPNOTE.TXT 6.3.10, sections 4.3.12 to 4.3.16, 4.5.3 and 4.6.9.
"""

import stat
import struct
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, NamedTuple

_DIRECTORY_LIMIT = 1 << 27  # bytes of a directory, which is loaded whole: about 1.4 million members
_TAIL_BYTES = (1 << 16) + 4096  # at the end of the file, that are searched for the end record
_END, _END64, _LOCATOR64, _ENTRY = b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\1\2"
_AFTER = (b"PK\5\5", b"PK\6\6")  # a signature, and ZIP64's end record, which some writers count as its part
_UNKNOWN = 0xFFFFFFFF  # a field of 32 bits whose value is in the extra field
_WRAP = 1 << 32
_ENTRY_BYTES, _END_BYTES, _LOCATOR_BYTES, _END64_BYTES = 46, 22, 20, 56
_SIZES, _UNICODE_PATH = 0x0001, 0x7075  # ids of extra fields
_UNIX_SYSTEMS = (3, 19)
_FOLDER_ATTRIBUTE = 0x10
_UTF8 = 0x800  # flag
_DAMAGED = "rest of a damaged directory"
_NO_END = "it has no directory at its end: it was cut off; copy it again, or repair it with `zip -FF`"


class NoDirectory(Exception):
    """The file has no readable directory; the message says why."""


@dataclass(frozen=True)
class ZipEntry:
    """An entry of the directory.

    Args:
        name: with `/` as separator.
        raw_name: as in the directory.
        flags, method, crc: as in the directory.
        packed, size: bytes in the archive, and unpacked.
        offset: of the local header, as the directory states it.
        kind: file type bits of Unix, or 0.
    """

    name: str
    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    kind: int

    @property
    def is_folder(self) -> bool:
        """Whether the entry is a folder, which has no content."""
        return self.name.endswith("/") or self.kind == stat.S_IFDIR


@dataclass(frozen=True)
class ZipDirectory:
    """The directory of a zip file.

    Args:
        content: its bytes.
        prefix: bytes before the archive, as in programs that unpack themselves; offsets do not count them.
        wraps: offsets may lack a multiple of 4 GiB, as in large archives of macOS, up to this multiple.
    """

    content: bytes
    prefix: int
    wraps: int

    @classmethod
    def read(cls, file: IO[bytes]) -> "ZipDirectory":
        """Find and read the directory.

        Raises:
            NoDirectory: there is none, or it is too large, or in another part of a split zip.
        """
        size = file.seek(0, 2)
        tail_at = file.seek(max(0, size - _TAIL_BYTES))
        tail, problem, empty = file.read(_TAIL_BYTES), _NO_END, False
        for end in _end_records(tail):
            if end.problem:
                problem = end.problem
            for start in (tail_at + end.position - end.length, end.offset):
                if not end.problem and _begins_at(file, start, end.length, size):
                    # All before the end record is part of the directory: the length may be wrong.
                    length = max(end.length, tail_at + end.position - start)
                    content = _at(file, start, min(length, _DIRECTORY_LIMIT))
                    return cls._of(content, start - end.offset, 0 if end.is64 else size // _WRAP)
            empty = empty or not end.length  # unless it is part of a comment
        if empty:
            return cls(b"", 0, 0)
        raise NoDirectory(problem)

    @classmethod
    def _of(cls, content: bytes, prefix: int, wraps: int) -> "ZipDirectory":
        return cls(content, 0 if wraps and prefix % _WRAP == 0 else prefix, wraps)

    def entries(self) -> Iterator[ZipEntry | str]:
        """Each entry in order, or the skip reason of what cannot be read."""
        at, content = 0, self.content
        while at < len(content):
            entry, following = _parse(content, at) if content.startswith(_ENTRY, at) else (None, at)
            if entry is not None:
                yield entry
                if following >= len(content) or content.startswith(_AFTER, following):
                    return
            if entry is None or not content.startswith(_ENTRY, following):
                following = content.find(_ENTRY, at + 4)
                if following < 0:
                    yield _DAMAGED
                    return
            at = following

    def positions(self, entry: ZipEntry) -> Iterator[int]:
        """Where the local header of an entry may be."""
        yield from (entry.offset + self.prefix + turn * _WRAP for turn in range(self.wraps + 1))
        if self.prefix:
            yield entry.offset


class _EndRecord(NamedTuple):
    """What may be the end record of a zip, or part of a comment.

    Args:
        position: of the record that has length and offset, in the searched bytes.
        length, offset: of the directory.
        is64: whether it is a record of ZIP64.
        problem: why it cannot be used, or empty.
    """

    position: int
    length: int
    offset: int
    is64: bool
    problem: str


def _end_records(tail: bytes) -> Iterator[_EndRecord]:
    """All that may be, the last first."""
    end = len(tail)
    while (end := tail.rfind(_END, 0, end)) >= 0:
        if end + _END_BYTES > len(tail):
            continue
        disk, _, _, _, length, offset, _ = struct.unpack("<4H2IH", tail[end + 4 : end + _END_BYTES])
        position, problem, is64 = end, "", False
        if tail[max(end - _LOCATOR_BYTES, 0) : end].startswith(_LOCATOR64):
            record = tail.rfind(_END64, 0, end - _LOCATOR_BYTES)
            if 0 <= record <= end - _LOCATOR_BYTES - _END64_BYTES:
                length, offset = struct.unpack("<2Q", tail[record + 40 : record + _END64_BYTES])
                position, is64 = record, True
        elif disk not in {0, 0xFFFF}:
            problem = "it is the last part of a split zip: join the parts first, with `zip -s 0` or 7-Zip"
        if length > _DIRECTORY_LIMIT:
            problem = (
                f"its directory has {length:,} bytes, at most {_DIRECTORY_LIMIT:,} are allowed; split it, or "
                "give a tar or a folder"
            )
        yield _EndRecord(position, length, offset, is64, problem)


def _begins_at(file: IO[bytes], start: int, length: int, size: int) -> bool:
    """Whether a directory of this length may begin here."""
    return length > 0 <= start <= size - length and _at(file, start, len(_ENTRY)) == _ENTRY


def _at(file: IO[bytes], position: int, length: int) -> bytes:
    file.seek(position)
    return file.read(length)


def _parse(content: bytes, at: int) -> tuple[ZipEntry | None, int]:
    """The entry at a position, or None if it is cut off, and the position after it."""
    if at + _ENTRY_BYTES > len(content):
        return None, len(content)
    made, _, flags, method, _, _, crc, packed, size, *lengths, _, _, attributes, offset = struct.unpack(
        "<6H3I5H2I", content[at + 4 : at + _ENTRY_BYTES]
    )
    name_at = at + _ENTRY_BYTES
    if name_at + lengths[0] > len(content):
        return None, len(content)
    raw = content[name_at : name_at + lengths[0]]
    extra_at = name_at + lengths[0]
    fields = _extra_fields(content[extra_at : extra_at + lengths[1]])
    packed, size, offset = _full_sizes(fields.get(_SIZES, b""), packed, size, offset)
    system = made >> 8
    kind = stat.S_IFMT(attributes >> 16) if system in _UNIX_SYSTEMS else 0
    if not kind and attributes & _FOLDER_ATTRIBUTE and not size:
        kind = stat.S_IFDIR
    name = _name(raw, fields.get(_UNICODE_PATH, b""), flags).replace("\\", "/")
    entry = ZipEntry(name, raw, flags, method, crc, packed, size, offset, kind)
    return entry, name_at + sum(lengths)


def _extra_fields(extra: bytes) -> dict[int, bytes]:
    """Id to content, up to the first field whose length is wrong."""
    fields: dict[int, bytes] = {}
    while len(extra) >= 4:
        number, length = struct.unpack("<2H", extra[:4])
        if length > len(extra) - 4:
            break
        fields.setdefault(number, extra[4 : 4 + length])
        extra = extra[4 + length :]
    return fields


def _full_sizes(field: bytes, packed: int, size: int, offset: int) -> tuple[int, int, int]:
    """Sizes and offset; the unknown ones are in the extra field of ZIP64, in its order."""
    values = [size, packed, offset]
    for number, value in enumerate(values):
        if value == _UNKNOWN and len(field) >= 8:
            values[number], field = int.from_bytes(field[:8], "little"), field[8:]
    return values[1], values[0], values[2]


def _name(raw: bytes, unicode_path: bytes, flags: int) -> str:
    """A member's name. The flag for UTF-8 is not trusted: many archivers set it wrongly, or not at all."""
    if len(unicode_path) > 5 and int.from_bytes(unicode_path[1:5], "little") == zlib.crc32(raw):
        raw = unicode_path[5:]
    try:
        return raw.decode("utf-8")
    except UnicodeError:
        # DOS wrote cp437, as the standard says; Windows programs write cp1252. Letters show which it is, and
        # no program for DOS sets the flag.
        oem, ansi = raw.decode("cp437"), raw.decode("cp1252", "replace")
        return ansi if flags & _UTF8 or _latin_letters(ansi) > _latin_letters(oem) else oem


def _latin_letters(text: str) -> int:
    return sum(unicodedata.name(char, "").startswith("LATIN") for char in text)
