"""Pictures whose data ends before they do, though the end of the file is there. Pure: no Spark.

Decoders fill what is missing of such a file with grey or black and say nothing. Uploads that were cut and
closed again look like this: by a proxy, by a phone out of space, by a tool that "repairs" files.
"""

import zlib
from collections.abc import Callable
from itertools import starmap
from re import compile as pattern

import numpy as np
from PIL import Image

from lake.pictures import jpeg_codec
from lake.pictures.pixels import RGB
from streaming.contract.verdict import Reason, Rejected
from streaming.verify import file_checks

# Coefficients that are not there are 0, and a block of zeros is 128 in every channel; Pillow makes 63 or 64
# of that in CMYK. Only pictures that end in such a grey are looked at again, and those whose components come
# one after the other: of these one may be there to its end and another not.
_GREYS = (63, 64, 128)
# Huffman data of arbitrary content: no byte of it is the first of a marker.
_FILLER = bytes(range(1, 255)) * 4
_RESTART = pattern(rb"\xff[\xd0-\xd7]")
_ARITHMETIC = {0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}  # such a scan may leave out zeros at its end

# Of a PNG: samples of a pixel by colour type, and the seven passes of an interlaced one: first column and
# row, step of columns and rows. Source: ISO/IEC 15948, sections 6.1 and 8.2.
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_INTERLACE = 28  # the place of its method in the file
_PIECE = 2**16


def check_jpeg(content: bytes, rgb: RGB, decode: Callable[[bytes], RGB]) -> None:
    """Refuse a JPEG that was decoded with less data than its pixels need.

    More data is put at the end of each scan: a decoder that has all it needs never reads it and gives the
    same pixels; one that was short of data gives others.

    Args:
        content: the JPEG.
        rgb: its pixels as stored, not turned.
        decode: gives the pixels of another JPEG of the same header, at the same scale.

    Raises:
        Rejected: truncated.
    """
    check_components(content)
    _, interleaved = jpeg_codec.headers(content)
    corner = rgb[-1, -2:]
    if interleaved and (int(corner[0, 0]) not in _GREYS or np.ptp(corner)):
        return
    filled = _filled(content)
    if filled is not None and not np.array_equal(decode(filled), rgb):
        raise Rejected(Reason.TRUNCATED, "the data ends before the picture does")


def check_components(content: bytes) -> None:
    """Refuse a JPEG of whose components one has no scan: it was decoded without that colour.

    Source: ITU-T T.81, sections B.2.2 and B.2.3.

    Args:
        content: a JPEG that can be decoded.

    Raises:
        Rejected: truncated.
    """
    missing: set[int] = set()
    for marker, position in file_checks.markers(content):
        if marker in jpeg_codec.FRAMES:
            missing.update(content[position + 10 : position + 10 + 3 * content[position + 9] : 3])
        elif marker == jpeg_codec.SCAN:
            missing.difference_update(content[position + 5 : position + 5 + 2 * content[position + 4] : 2])
            if not missing:
                return
    raise Rejected(Reason.TRUNCATED, f"the data ends before the scans of {len(missing)} of its components")


def _filled(content: bytes) -> bytes | None:
    """The JPEG with a filler at the end of each scan; None where that would prove nothing."""
    parts: list[bytes] = []
    copied, begun, in_scan = 0, 0, False
    for marker, position in file_checks.markers(content):
        if marker in _ARITHMETIC:
            return None
        if in_scan:
            while content[position - 1] == 0xFF:  # padding of the marker; the filler would make one of it
                position -= 1
            parts += [content[copied:position], _FILLER, _next_restart(content[begun:position]), _FILLER]
            copied = position
        in_scan, begun = marker == jpeg_codec.SCAN, position
    return b"".join([*parts, content[copied:]])


def _next_restart(scan: bytes) -> bytes:
    """The marker that a decoder looks for if the data ends with an interval: they count from 0 to 7."""
    numbers = _RESTART.findall(scan)
    return bytes((0xFF, 0xD0 | (numbers[-1][1] + 1 & 7 if numbers else 0)))


def check_png(content: bytes, image: Image.Image) -> None:
    """Refuse a PNG that inflates to fewer bytes than its pixels need.

    Args:
        content: the PNG.
        image: of it, decoded. It is looked at again only if its last pixel is 0, as a missing one would be,
            or if it is interlaced: the last pixel need not be of the last pass.

    Raises:
        Rejected: truncated.
    """
    width, height = image.size
    if not content[_INTERLACE] and np.any(image.getpixel((width - 1, height - 1))):
        return
    needed = _needed(content, width, height)
    if _inflated(content, needed) < needed:
        raise Rejected(
            Reason.TRUNCATED, f"its data ends before the {needed:,} bytes of {width}x{height} pixels"
        )


def _needed(content: bytes, width: int, height: int) -> int:
    """Bytes of all rows, each behind the byte of its filter; the header states depth and colour type."""
    depth, colour, interlaced = content[24], content[25], content[_INTERLACE]

    def rows(columns: int, count: int) -> int:
        return count * (1 + (columns * _SAMPLES[colour] * depth + 7) // 8) if columns > 0 else 0

    if not interlaced:
        return rows(width, height)
    sizes = [((width - x + dx - 1) // dx, (height - y + dy - 1) // dy) for x, y, dx, dy in _PASSES]
    return sum(starmap(rows, sizes))


def _inflated(content: bytes, enough: int) -> int:
    """How many bytes the image data inflates to, counted no further than `enough`."""
    stream, count = zlib.decompressobj(), 0
    for name, start, end in file_checks.chunks(content):
        if name != b"IDAT":
            continue
        for piece in range(start, end, _PIECE):
            waiting = content[piece : min(piece + _PIECE, end)]
            while waiting and count < enough:
                count += len(stream.decompress(waiting, 2**20))
                waiting = stream.unconsumed_tail
    return count
