"""Detection of truncated pixel data in JPEGs and PNGs that still have their end marker. No Spark.

Decoders fill the missing pixels of such a file with grey or black, without an error. A proxy, a phone without
free space or a tool that "repairs" files writes an end marker after the cut.
"""

from collections.abc import Callable
from itertools import starmap
from re import compile as pattern

import numpy as np
from PIL import Image

from lake.pictures import jpeg_codec, png_chunks
from lake.pictures.pixels import RGB
from streaming.contract.verdict import Reason, Rejected

# Arbitrary Huffman data, which begins with bits that are unlike the zeros that a decoder reads after the end.
# It has no 0xFF, with which a marker begins.
_FILLER = bytes(0xB6 * number % 255 for number in range(1, 1017))
_PROGRESSIVE_FRAME = 0xC2
_RESTART_MARKER = pattern(rb"\xff[\xd0-\xd7]")

# PNG: samples per pixel by colour type; and the seven passes of an interlaced PNG: first column, first row,
# column step, row step. Source: ISO/IEC 15948, sections 6.1 and 8.2.
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_INTERLACE_OFFSET = 28  # of the interlace method in the file


def check_jpeg(content: bytes, rgb: RGB, decode: Callable[[bytes], RGB]) -> None:
    """Reject a JPEG whose data is too short for its pixels.

    Extra data is added to the end of each scan, and the result is decoded. If the original data is complete,
    the decoder never reads the extra data and the pixels are the same; otherwise they differ. It is a second
    decoding, but libjpeg-turbo has already taken all intact JPEGs but those in ink.

    Args:
        content: the JPEG.
        rgb: its pixels, before its EXIF orientation is applied.
        decode: decodes another JPEG with the same header, at the same scale.

    Raises:
        Rejected: truncated.
    """
    check_components(content)
    if not np.array_equal(decode(_with_filler(content)), rgb):
        raise Rejected(Reason.TRUNCATED, "the pixel data ends before the last pixel")


def check_components(content: bytes) -> None:
    """Reject a JPEG that has no scan for one of its components: it was decoded without that colour.

    Source: ITU-T T.81, sections B.2.2 and B.2.3.

    Args:
        content: a decodable JPEG.

    Raises:
        Rejected: truncated.
    """
    missing: set[int] = set()
    for marker, position in jpeg_codec.markers(content):
        if marker in jpeg_codec.FRAME_MARKERS:
            missing.update(content[position + 10 : position + 10 + 3 * content[position + 9] : 3])
        elif marker == jpeg_codec.START_OF_SCAN:
            missing.difference_update(content[position + 5 : position + 5 + 2 * content[position + 4] : 2])
            if not missing:
                return
    raise Rejected(Reason.TRUNCATED, f"the scans of {len(missing)} of its components are missing")


def _with_filler(content: bytes) -> bytes:
    """The JPEG with filler data at the end of each scan; a cut refinement only leaves a picture coarse."""
    parts: list[bytes] = []
    copied, start, needed, progressive = 0, 0, False, False
    for marker, position in jpeg_codec.markers(content):
        if needed:
            while content[position - 1] == 0xFF:  # padding; before the filler it would become a marker
                position -= 1
            parts += [content[copied:position], _FILLER, _next_restart(content[start:position]), _FILLER]
            copied = position
        progressive |= marker == _PROGRESSIVE_FRAME
        needed = marker == jpeg_codec.START_OF_SCAN and not (
            progressive and _is_refinement(content, position)
        )
        start = position
    return b"".join([*parts, content[copied:]])


def _is_refinement(content: bytes, position: int) -> bool:
    """Whether a scan of a progressive JPEG only adds bits to coefficients of earlier scans.

    Source: ITU-T T.81, section G.1.1.1 and table B.3.
    """
    bits = position + 7 + 2 * content[position + 4]
    return bits < len(content) and content[bits] >> 4 > 0


def _next_restart(scan: bytes) -> bytes:
    """The restart marker that a decoder expects next in a scan; markers count from 0 to 7."""
    numbers = _RESTART_MARKER.findall(scan)
    return bytes((0xFF, 0xD0 | (numbers[-1][1] + 1 & 7 if numbers else 0)))


def check_png(content: bytes, image: Image.Image) -> None:
    """Reject a PNG whose image data inflates to fewer bytes than its pixels need.

    Args:
        content: the PNG.
        image: decoded from it. The data is checked only if the last pixel is 0, as a missing pixel is, or
            if the PNG is interlaced: its last pixel may belong to an earlier pass.

    Raises:
        Rejected: truncated.
    """
    width, height = image.size
    if not content[_INTERLACE_OFFSET] and np.any(image.getpixel((width - 1, height - 1))):
        return
    needed = _raw_size(content, width, height)
    if png_chunks.inflated_size(png_chunks.image_data(content), needed) < needed:
        raise Rejected(
            Reason.TRUNCATED, f"its data ends before the {needed:,} bytes of {width}x{height} pixels"
        )


def _raw_size(content: bytes, width: int, height: int) -> int:
    """Size in bytes of the inflated image data: all rows, each with one byte for its filter."""
    depth, colour, interlaced = content[24], content[25], content[_INTERLACE_OFFSET]

    def rows(columns: int, count: int) -> int:
        return count * (1 + (columns * _CHANNELS[colour] * depth + 7) // 8) if columns > 0 else 0

    if not interlaced:
        return rows(width, height)
    sizes = [((width - x + dx - 1) // dx, (height - y + dy - 1) // dy) for x, y, dx, dy in _PASSES]
    return sum(starmap(rows, sizes))
