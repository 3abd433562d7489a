"""Sizes that a HEIC or AVIF states in its boxes and in its codec's own headers; no picture is decoded."""

import struct
from collections.abc import Iterator
from struct import unpack_from

from lake.pictures.iso_media import Item, MediaFile

Size = tuple[int, int]

_HEVC_ITEMS, _AV1_ITEM = (b"hvc1", b"hev1", b"lhv1"), b"av01"
_SPS, _SEQUENCE_HEADER = 33, 1
_HEADER_BYTES = 4096  # of an item's content, in which its codec's headers are searched
_MAX_UNITS = 64


def stated_sizes(media: MediaFile) -> Iterator[Size]:
    """Yield all widths and heights that a decoder could take for a picture's: the largest counts.

    Decoders trust their codec's header more than the box beside it, so a file may state two sizes.
    """
    for item in media.items.values():
        for kind, (start, stop) in item.properties:
            yield from _of_property(kind, media.content[start : min(stop, start + _HEADER_BYTES)])
        yield from _of_content(item, media)


def _of_property(kind: bytes, body: bytes) -> Iterator[Size]:
    if kind == b"ispe" and len(body) >= 12:
        yield unpack_from(">II", body, 4)
    elif kind == b"hvcC":
        yield from _of_nal_units(_units_in_hvcc(body))
    elif kind == b"av1C":
        yield from _of_obus(body[4:])


def _of_content(item: Item, media: MediaFile) -> Iterator[Size]:
    if item.kind == _AV1_ITEM:
        yield from _of_obus(media.bytes_of(item, _HEADER_BYTES))
    elif item.kind in _HEVC_ITEMS:
        yield from _of_nal_units(
            _units_with_lengths(media.bytes_of(item, _HEADER_BYTES), _length_bytes(item, media))
        )
    elif item.kind in (b"grid", b"iovl"):
        yield from _of_canvas(item.kind, media.bytes_of(item, _HEADER_BYTES))


def _of_canvas(kind: bytes, body: bytes) -> Iterator[Size]:
    """Output size of a grid or an overlay. Source: ISO/IEC 23008-12, sections 6.6.2.2 and 6.6.2.3."""
    layout, at = (">II" if body[1:2] and body[1] & 1 else ">HH"), 4 if kind == b"grid" else 10
    try:
        yield unpack_from(layout, body, at)
    except struct.error:
        return


def _units_in_hvcc(body: bytes) -> Iterator[bytes]:
    """The NAL units in an hvcC box. Source: ISO/IEC 14496-15, section 8.3.3.1."""
    at = 23
    for _ in range(body[22] if len(body) > 22 else 0):
        count, at = int.from_bytes(body[at + 1 : at + 3], "big"), at + 3
        for _ in range(min(count, _MAX_UNITS)):
            length = int.from_bytes(body[at : at + 2], "big")
            yield body[at + 2 : at + 2 + length]
            at += 2 + length


def _length_bytes(item: Item, media: MediaFile) -> int:
    """Bytes of the length before each NAL unit of an item."""
    for kind, (start, stop) in item.properties:
        if kind == b"hvcC" and stop - start > 21:
            return (media.content[start + 21] & 3) + 1
    return 4


def _units_with_lengths(content: bytes, size: int) -> Iterator[bytes]:
    at = 0
    for _ in range(_MAX_UNITS):
        if at + size >= len(content):
            return
        length = int.from_bytes(content[at : at + size], "big")
        yield content[at + size : at + size + length]
        at += size + length


def _of_nal_units(units: Iterator[bytes]) -> Iterator[Size]:
    """Sizes in the sequence parameter sets. Source: ITU-T H.265, section 7.3.2.2."""
    for unit in units:
        if len(unit) < 3 or unit[0] >> 1 & 0x3F != _SPS:
            continue
        bits = _Bits(unit[2:].replace(b"\0\0\3", b"\0\0"))
        bits.skip(4)
        layers = bits.number(3)
        bits.skip(1 + 96)  # nesting; profile and level
        present = [bits.number(2) for _ in range(layers)]
        bits.skip(2 * (8 - layers) if layers else 0)
        for flags in present:
            bits.skip(88 * (flags >> 1) + 8 * (flags & 1))
        bits.exp_golomb()
        if bits.exp_golomb() == 3:
            bits.skip(1)
        yield bits.exp_golomb(), bits.exp_golomb()


def _of_obus(content: bytes) -> Iterator[Size]:
    """Sizes in the sequence headers. Source: AV1 bitstream specification, sections 5.3 and 5.5."""
    at = 0
    for _ in range(_MAX_UNITS):
        if at >= len(content):
            return
        head, at = content[at], at + (2 if content[at] & 4 else 1)
        length = len(content) - at
        if head & 2:
            length, shift = 0, 0
            while at < len(content) and shift < 56:
                byte, at = content[at], at + 1
                length |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
        if head >> 3 & 15 == _SEQUENCE_HEADER:
            yield _of_sequence_header(_Bits(content[at : at + length]))
        at += length


def _of_sequence_header(bits: "_Bits") -> Size:
    bits.skip(4)  # profile, still picture
    if bits.number(1):  # the reduced header of stills
        bits.skip(5)
    else:
        _skip_operating_points(bits)
    widths = bits.number(4) + 1, bits.number(4) + 1
    return bits.number(widths[0]) + 1, bits.number(widths[1]) + 1


def _skip_operating_points(bits: "_Bits") -> None:
    delays = model = 0
    if bits.number(1):  # timing
        bits.skip(64)
        if bits.number(1):
            bits.exp_golomb()
        model = bits.number(1)
        if model:
            delays = bits.number(5) + 1
            bits.skip(32 + 5 + 5)
    initial = bits.number(1)
    for _ in range(bits.number(5) + 1):
        bits.skip(12)
        if bits.number(5) > 7:
            bits.skip(1)
        if model and bits.number(1):
            bits.skip(2 * delays + 1)
        if initial and bits.number(1):
            bits.skip(4)


class _Bits:
    """Bits of a header, from the highest; zeros after the end."""

    def __init__(self, content: bytes) -> None:
        self._content = content[:_HEADER_BYTES]
        self._value = int.from_bytes(self._content, "big")
        self._left = 8 * len(self._content)

    def number(self, width: int) -> int:
        """The next u(width)."""
        self._left -= width
        if self._left < 0:
            return 0
        return self._value >> self._left & (1 << width) - 1

    def skip(self, width: int) -> None:
        """Skip this many bits."""
        self._left -= width

    def exp_golomb(self) -> int:
        """The next ue(v)."""
        zeros = 0
        while zeros < 32 and self._left > 0 and not self.number(1):
            zeros += 1
        return (1 << zeros) - 1 + self.number(zeros)
