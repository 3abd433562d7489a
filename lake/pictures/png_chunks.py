"""Chunks of a PNG, and a PNG without its texts and colour profile, which nobody needs."""

import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from struct import unpack_from

from lake.errors import TruncatedPicture, UndecodablePicture

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# More texts and profiles than this, once inflated, are a bomb: a generator's whole workflow has 2 MiB, a
# printer's profile 4.
MAX_METADATA_BYTES = 64 * 2**20
_METADATA = frozenset({b"tEXt", b"zTXt", b"iTXt", b"iCCP"})
_READ_BYTES = 2**16
_STEP_BYTES = 2**20


def chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the chunks up to IEND: name, and start and end of the body.

    Source: ISO/IEC 15948, section 5.3.

    Raises:
        TruncatedPicture: the file ends before.
    """
    position, name = len(SIGNATURE), b""
    while name != b"IEND":
        if position + 12 > len(content):
            raise TruncatedPicture("it ends without an IEND chunk")
        length, name = unpack_from(">I4s", content, position)
        start, end = position + 8, position + 8 + length
        if end + 4 > len(content):
            raise TruncatedPicture(f"it ends within its chunk {name.decode('latin-1')!r} of {length:,} bytes")
        yield name, start, end
        position = end + 4


def without_metadata(content: bytes) -> bytes:
    """The PNG without texts and colour profile: decoders would inflate them, and refuse one above 1 MiB.

    A PNG without them is returned as it is; the end of a truncated one is kept.

    Raises:
        UndecodablePicture: they inflate to more than `MAX_METADATA_BYTES`.
    """
    parts: list[bytes] = []
    kept, left = 0, MAX_METADATA_BYTES
    with suppress(TruncatedPicture):  # decoders have the last word
        for name, start, end in chunks(content):
            if name not in _METADATA:
                continue
            with suppress(zlib.error):  # damaged, but nobody reads it
                data = _slices(content, _data_start(content, name, start, end), end)
                left -= inflated_size(data, left + 1)
            if left < 0:
                raise UndecodablePicture(
                    f"its texts and colour profile inflate to more than {MAX_METADATA_BYTES:,} bytes"
                )
            parts.append(content[kept : start - 8])
            kept = end + 4
    return b"".join([*parts, content[kept:]]) if parts else content


def _data_start(content: bytes, name: bytes, start: int, end: int) -> int:
    """Where the compressed data of a text or profile begins; at `end` if it has none.

    Source: ISO/IEC 15948, sections 11.3.3.3 and 11.3.4.
    """

    def behind_zero(position: int) -> int:
        return content.find(b"\0", position, end) + 1 or end

    position = behind_zero(start)  # behind the keyword or the profile's name
    if name == b"iTXt" and content[position : position + 1] == b"\1":  # it is compressed
        return behind_zero(behind_zero(position + 2))  # behind the language and the translated keyword
    return end if name in {b"tEXt", b"iTXt"} else position + 1  # behind the method


def inflated_size(parts: Iterable[bytes], enough: int) -> int:
    """Size in bytes of zlib data once inflated; inflating stops at `enough`.

    Raises:
        zlib.error: the data is damaged.
    """
    stream, count = zlib.decompressobj(), 0
    for part in parts:
        data = part
        while data and count < enough:
            count += len(stream.decompress(data, _STEP_BYTES))
            data = stream.unconsumed_tail
    return count


def image_data(content: bytes) -> Iterator[bytes]:
    """The compressed pixels: the bodies of all IDAT chunks, in parts."""
    for name, start, end in chunks(content):
        if name == b"IDAT":
            yield from _slices(content, start, end)


def _slices(content: bytes, start: int, end: int) -> Iterator[bytes]:
    for position in range(start, end, _READ_BYTES):
        yield content[position : min(position + _READ_BYTES, end)]
