"""How pictures are turned upright: one rule for ingestion, training, prediction and exported models.

JPEG, PNG and WebP: the orientation in EXIF decides, as in browsers. XMP and texts in a PNG say nothing:
programs that turn the pixels often leave an old value there. HEIC and AVIF: their boxes irot and imir decide,
and their EXIF says nothing (MIAF, ISO/IEC 23000-22). The same rule in TensorFlow operations is in
`models.formats.orientation_operations`.
"""

import struct
from contextlib import suppress
from struct import unpack_from

import cv2
import numpy as np
from numpy.typing import NDArray

from lake.errors import TruncatedPicture
from lake.pictures import jpeg_codec, png_chunks
from lake.pictures.formats import Format
from lake.pictures.iso_media import MediaFile

TAG = 0x0112  # CIPA DC-008 (Exif 2.32)
UPRIGHT = 1
# Numeric types of TIFF 6.0, section 2, and their layouts; two numbers are a fraction. Exif asks for SHORT,
# but programs write others. Signed types are read as unsigned: no orientation is negative.
TYPES = {
    1: "B", 3: "H", 4: "I", 5: "II", 6: "B", 7: "B", 8: "H", 9: "I", 10: "II", 11: "f", 12: "d", 13: "I",
}  # fmt: skip
_PREFIX = b"Exif\0\0"
_WEBP_HAS_EXIF = 0x08


def exif_of(content: bytes, kind: Format) -> bytes | None:
    """The EXIF of a picture, a TIFF structure; None if it has none."""
    if kind is Format.JPEG:
        block = jpeg_codec.read_headers(content).exif
    elif kind is Format.PNG:
        block = _exif_of_png(content)
    elif kind is Format.WEBP:
        block = _exif_of_webp(content)
    else:
        block = MediaFile.read(content).exif()
    return without_prefix(block)


def without_prefix(block: bytes | None) -> bytes | None:
    """An EXIF block without the prefix of JPEG; some programs write it in other formats, or twice."""
    while block and block.startswith(_PREFIX):
        block = block[len(_PREFIX) :]
    return block


def orientation_of(content: bytes, kind: Format) -> int:
    """How the pixels of a decoder are turned, 1 to 8 as in EXIF; 1 is upright."""
    if kind is Format.HEIC:
        return UPRIGHT  # libheif turns the pixels
    if kind is Format.AVIF:
        return MediaFile.read(content).orientation()
    return tag_of(exif_of(content, kind))


def tag_of(exif: bytes | None) -> int:
    """The orientation in the first directory of a TIFF structure, 1 to 8; 1 if it is missing or invalid."""
    if exif is None or exif[:4] not in (b"II*\0", b"MM\0*"):
        return UPRIGHT
    order = "<" if exif[:1] == b"I" else ">"
    with suppress(struct.error):  # it points outside
        (directory,) = unpack_from(f"{order}I", exif, 4)
        (count,) = unpack_from(f"{order}H", exif, directory)
        first = directory + 2
        for entry in range(first, min(first + 12 * count, len(exif) - 11), 12):
            if unpack_from(f"{order}H", exif, entry)[0] == TAG:
                return _valid(_number(exif, entry, order))
    return UPRIGHT


def _number(exif: bytes, entry: int, order: str) -> float:
    """The number in an entry of a directory; 0 if it is none."""
    kind, count = unpack_from(f"{order}HI", exif, entry + 2)
    if count != 1 or kind not in TYPES:
        return 0
    large = TYPES[kind] in {"II", "d"}  # more than four bytes: the entry has their place
    place = unpack_from(f"{order}I", exif, entry + 8)[0] if large else entry + 8
    values = unpack_from(order + TYPES[kind], exif, place)
    return values[0] / (values[1] or float("inf")) if len(values) == 2 else values[0]


def _valid(value: float) -> int:
    return int(value) if value in range(1, 9) else UPRIGHT


def _exif_of_png(content: bytes) -> bytes | None:
    """The eXIf chunk, which may be anywhere before IEND (PNG, third edition, section 5.6)."""
    with suppress(TruncatedPicture):  # decoders have the last word
        for name, start, end in png_chunks.chunks(content):
            if name == b"eXIf":
                return content[start:end]
    return None


def _exif_of_webp(content: bytes) -> bytes | None:
    """The EXIF chunk, if the header says that there is one (RFC 9649, section 2.7)."""
    if content[12:16] != b"VP8X" or not content[20:21] or not content[20] & _WEBP_HAS_EXIF:
        return None
    position = 12
    while position + 8 <= len(content):
        name, length = unpack_from("<4sI", content, position)
        if name == b"EXIF":
            return content[position + 8 : position + 8 + length]
        position += 8 + length + length % 2
    return None


def turn_upright(rgb: NDArray[np.uint8], value: int) -> NDArray[np.uint8]:
    """Turn pixels upright.

    Source: CIPA DC-008 (Exif 2.32), tag 0x0112.

    Args:
        rgb: uint8 (height, width, 3).
        value: 1 to 8; even values are mirrored, 5 to 8 lie on their side.
    """
    if value in (5, 6, 7, 8):
        rgb = cv2.transpose(rgb)
    codes = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}
    return cv2.flip(rgb, codes[value]) if value in codes else rgb
