"""Boxes and items of HEIC and AVIF files, read without decoding a picture.

The reader is lenient: it gives what it finds, and a decoder has the last word on a damaged file.
Source: ISO/IEC 14496-12, sections 4.2 and 8.11; ISO/IEC 23008-12.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from struct import unpack_from

Span = tuple[int, int]  # start and stop in the file

_EXIF = b"Exif"
# Pictures coded in HEVC or AV1, and pictures made of these.
_PICTURES = frozenset({b"hvc1", b"hev1", b"lhv1", b"av01", b"grid", b"iovl", b"iden"})
_IGNORED = b"skip"  # a kind of item that decoders do not know
_MAX_ENTRIES = 100_000  # items, extents and properties that are read; entries of zero bytes cost nothing
_CONSTRUCTION_FILE, _CONSTRUCTION_IDAT = 0, 1
# EXIF orientation by quarter turns to the left and the mirror after them: none, up and down, left and right.
_ORIENTATIONS = ((1, 4, 2), (8, 5, 7), (3, 2, 4), (6, 7, 5))


@dataclass(frozen=True)
class Item:
    """An item: a coded or derived picture, or metadata.

    Args:
        kind: four characters, such as hvc1, av01, grid, Exif.
        extents: where the content is, in order.
        properties: kind and body of each property, in the order in which they apply.
    """

    kind: bytes
    extents: tuple[Span, ...]
    properties: tuple[tuple[bytes, Span], ...]


@dataclass(frozen=True)
class MediaFile:
    """The items of a file.

    Args:
        content: the file.
        items: by id.
        primary: id of the picture that is shown.
        kinds_at: where the kind of each item is in the file; an id may have several.
    """

    content: bytes
    items: dict[int, Item]
    primary: int
    kinds_at: tuple[int, ...]

    @classmethod
    def read(cls, content: bytes) -> "MediaFile":
        """Read the items of a file; none if it has none or is damaged."""
        reader = _Reader(content)
        for kind, start, stop in boxes(content, 0, len(content)):
            if kind == b"meta":
                reader.read_all(start + 4, stop)
                break
        return cls(content, reader.items(), reader.primary, tuple(reader.kinds_at))

    def bytes_of(self, item: Item, most: int = 2**24) -> bytes:
        """The first bytes of an item's content."""
        parts, left = [], most
        for start, stop in item.extents:
            parts.append(self.content[start : min(stop, start + left)])
            left -= len(parts[-1])
            if left <= 0:
                break
        return b"".join(parts)

    def exif(self) -> bytes | None:
        """The EXIF, a TIFF structure; None if there is none. Source: ISO/IEC 23008-12, annex A.2.1."""
        for item in self.items.values():
            if item.kind == _EXIF:
                content = self.bytes_of(item)
                return content[4 + int.from_bytes(content[:4], "big") :]
        return None

    def orientation(self) -> int:
        """The EXIF orientation that irot and imir of the primary item say; 1 if it has none of them."""
        item = self.items.get(self.primary)
        turns = mirror = 0
        for kind, (start, stop) in item.properties if item else ():
            if kind == b"irot" and start < stop:
                turns = self.content[start] & 3
            elif kind == b"imir" and start < stop:
                mirror = 1 + (self.content[start] & 1)
        return _ORIENTATIONS[turns][mirror]

    def without_metadata(self) -> bytes:
        """The file with all but pictures hidden from decoders: damage in EXIF or XMP must not reject it."""
        hidden = [at for at in self.kinds_at if self.content[at : at + 4] not in _PICTURES]
        if not hidden:
            return self.content
        changed = bytearray(self.content)
        for position in hidden:
            changed[position : position + 4] = _IGNORED
        return bytes(changed)

    def has_all_data(self) -> bool:
        """Whether the contents of all items lie within the file."""
        return all(stop <= len(self.content) for item in self.items.values() for _, stop in item.extents)

    def has_all_boxes(self) -> bool:
        """Whether all boxes lie within the file; bytes after them, as Samsung writes, look like a cut box."""
        ends = [stop for _, _, stop in boxes(self.content, 0, len(self.content), beyond=True)]
        return max(ends, default=0) <= len(self.content)


def boxes(content: bytes, start: int, stop: int, beyond: bool = False) -> Iterator[tuple[bytes, int, int]]:
    """Yield the boxes between two offsets: kind, start and stop of the body; with `beyond` a cut one, too."""
    while start + 8 <= stop:
        size, kind = unpack_from(">I4s", content, start)
        body = start + 8
        if size == 1 and start + 16 <= stop:  # a 64-bit size follows
            (size,) = unpack_from(">Q", content, body)
            body += 8
        end = start + size if size else stop
        if end < body or (end > stop and not beyond):
            return
        yield kind, body, end
        start = end


class _Reader:
    """Reads the boxes in `meta`."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._kinds: dict[int, bytes] = {}
        self._extents: dict[int, list[Span]] = {}
        self._shared: list[tuple[bytes, Span]] = []
        self._links: dict[int, list[int]] = {}
        self._data = 0  # start of idat
        self._left = _MAX_ENTRIES
        self.primary = 0
        self.kinds_at: list[int] = []

    def items(self) -> dict[int, Item]:
        """The items that were read."""
        return {
            number: Item(
                kind,
                tuple(self._extents.get(number, ())),
                tuple(self._shared[n - 1] for n in self._links.get(number, ()) if 0 < n <= len(self._shared)),
            )
            for number, kind in self._kinds.items()
        }

    def read_all(self, start: int, stop: int) -> None:
        """Read the boxes between two offsets."""
        found = list(boxes(self._content, start, stop))
        self._data = next((body for kind, body, _ in found if kind == b"idat"), 0)
        readers = {b"pitm": self._pitm, b"iinf": self._iinf, b"iloc": self._iloc, b"iprp": self._iprp}
        for kind, body, end in found:
            if kind in readers:
                try:
                    readers[kind](body, end)
                except struct.error:  # the file ends within the box
                    continue

    def _number(self, at: int, size: int) -> tuple[int, int]:
        """A number of this many bytes, and the position behind it."""
        self._left -= 1
        if self._left < 0:
            raise struct.error("too many entries")
        stop = at + size
        if stop > len(self._content):
            raise struct.error("the file ends")
        return int.from_bytes(self._content[at:stop], "big"), stop

    def _pitm(self, at: int, stop: int) -> None:
        self.primary, _ = self._number(at + 4, 4 if self._content[at] else 2)

    def _iinf(self, at: int, stop: int) -> None:
        for kind, start, _ in boxes(self._content, at + (8 if self._content[at] else 6), stop):
            version = self._content[start]
            if kind == b"infe" and version >= 2:
                number, behind = self._number(start + 4, 4 if version > 2 else 2)
                self._kinds[number] = self._content[behind + 2 : behind + 6]
                self.kinds_at.append(behind + 2)

    def _iloc(self, at: int, stop: int) -> None:
        version, sizes = self._content[at], unpack_from(">BB", self._content, at + 4)
        wide = 4 if version == 2 else 2
        count, at = self._number(at + 6, wide)
        for _ in range(count):
            number, at = self._number(at, wide)
            method, at = self._number(at, 2) if version else (0, at)
            base, at = self._number(at + 2, sizes[1] >> 4)
            extents, at = self._number(at, 2)
            for _ in range(extents):
                at += (sizes[1] & 15) if version else 0
                offset, at = self._number(at, sizes[0] >> 4)
                length, at = self._number(at, sizes[0] & 15)
                start = base + offset + (self._data if method & 15 == _CONSTRUCTION_IDAT else 0)
                if method & 15 in (_CONSTRUCTION_FILE, _CONSTRUCTION_IDAT):
                    span = start, start + length if length else len(self._content)
                    self._extents.setdefault(number, []).append(span)

    def _iprp(self, at: int, stop: int) -> None:
        for kind, start, end in boxes(self._content, at, stop):
            if kind == b"ipco":
                self._shared = [(name, (a, b)) for name, a, b in boxes(self._content, start, end)]
            elif kind == b"ipma":
                self._ipma(start)

    def _ipma(self, at: int) -> None:
        version, wide = self._content[at], self._content[at + 3] & 1
        count, at = self._number(at + 4, 4)
        for _ in range(count):
            number, at = self._number(at, 4 if version else 2)
            links, at = self._number(at, 1)
            for _ in range(links):
                link, at = self._number(at, 2 if wide else 1)
                self._links.setdefault(number, []).append(link & (0x7FFF if wide else 0x7F))
