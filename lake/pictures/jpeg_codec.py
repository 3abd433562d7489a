"""JPEG headers, and decoding by libjpeg-turbo without Pillow: the same pixels, tiny ones five times as fast.

`decode` returns None if libjpeg-turbo has an error or a warning. Then Pillow must decode the file, and its
verdict counts.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from lake.errors import UndecodablePicture

_EXIF = b"Exif\0\0"
_APP1 = 0xE1

# Markers, of ITU-T T.81, table B.1: of frames and scans, and those without a length field (padding, data,
# restarts, TEM, and reserved ones, which a decoder skips when it searches for a missing restart).
FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
STANDALONE_MARKERS = frozenset(range(0xC0)) | frozenset(range(0xD0, 0xD8)) | {0xFF}
# One check skips most segments: walking those of a tiny picture takes 1 µs.
_RELEVANT_MARKERS = FRAME_MARKERS | STANDALONE_MARKERS | {START_OF_SCAN, _APP1}

# The processes that cameras use: Huffman coded, 8 bits. libjpeg-turbo knows lossless ones, too, but at a
# reduced scale it writes past the end of such a picture.
_DECODED_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_REFUSED = {
    0xC3: "a lossless JPEG",
    **dict.fromkeys((0xC9, 0xCA, 0xCB), "an arithmetic coded JPEG"),
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF, 0xDE), "a hierarchical JPEG"),
    0xF7: "a JPEG-LS",
}


class Headers(NamedTuple):
    """What the segments before the first scan's data say.

    Args:
        exif: the first Exif block, with its prefix; None if there is none.
        interleaved: whether the first scan contains all components, as in nearly every file.
        frame: marker of the frame, such as 0xC0; 0 if there is none, or a segment is malformed.
        bits: of a sample.
        height, width: of the picture in pixels.
        components: 1 is grey, 3 is colour, 4 is ink.
    """

    exif: bytes | None = None
    interleaved: bool = False
    frame: int = 0
    bits: int = 0
    height: int = 0
    width: int = 0
    components: int = 0

    @property
    def is_decoded(self) -> bool:
        """Whether the process is one that is decoded, and the height is known."""
        return self.frame in _DECODED_FRAMES and self.bits == 8 and self.height > 0

    @property
    def is_common(self) -> bool:
        """Whether `decode` may try the file: libjpeg-turbo does not convert ink (CMYK) to RGB."""
        return self.is_decoded and self.components in (1, 3)


def read_headers(data: bytes) -> Headers:
    """Read the segments before the first scan's data.

    Source: ITU-T T.81, annex B.1.1.4 (segments), B.2.2 and B.2.3 (frame and scan); CIPA DC-008, section 4.5.4
    (Exif).
    """
    exif, position = None, 2
    frame = bits = height = width = components = 0
    while position + 10 <= len(data) and data[position] == 0xFF:
        marker, length = data[position + 1], data[position + 2] << 8 | data[position + 3]
        if marker in _RELEVANT_MARKERS:
            if marker == START_OF_SCAN:
                interleaved = data[position + 4] == components
                return Headers(exif, interleaved, frame, bits, height, width, components)
            if marker in FRAME_MARKERS:
                frame, bits, components = marker, data[position + 4], data[position + 9]
                height = data[position + 5] << 8 | data[position + 6]
                width = data[position + 7] << 8 | data[position + 8]
            elif marker in STANDALONE_MARKERS:
                length = -1 if marker == 0xFF else 0
            elif exif is None and data.startswith(_EXIF, position + 4):
                exif = data[position + 4 : position + 2 + length]
        position += 2 + length
    return Headers(exif)


def decode(data: bytes, headers: Headers, longest_side: int, strict: bool = True) -> NDArray[np.uint8] | None:
    """Decode at the smallest scale of 1, 4/8, 3/8, 2/8, 1/8 whose longest side has `longest_side` pixels.

    Args:
        data: a JPEG file.
        headers: of the file; they must be common.
        longest_side: pixels.
        strict: a warning of libjpeg-turbo is an error.

    Returns:
        uint8 (height, width, 3), orientation as stored; None after an error.
    """
    wide = headers.width >= headers.height
    try:
        return simplejpeg.decode_jpeg(
            data,
            "RGB",
            min_width=longest_side if wide else 0,
            min_height=0 if wide else longest_side,
            min_factor=2,  # scales between 1/2 and 1 take longer than decoding at full size
            strict=strict,
        )
    except ValueError:
        return None


def markers(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield the markers of a JPEG and their positions, from SOI to EOI, except markers without a length.

    Source: ITU-T T.81, annex B.
    """
    position = 2
    while 0 <= position < len(content) - 1:
        marker = content[position + 1]
        if content[position] != 0xFF or marker in STANDALONE_MARKERS:
            position = content.find(b"\xff", position + 1)
            continue
        yield marker, position
        if marker == END_OF_IMAGE:
            return
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")


def check_process(content: bytes) -> None:
    """Refuse by its headers a JPEG of a process that no camera uses and that decoders are not tested with.

    Raises:
        UndecodablePicture: it is lossless, arithmetic coded, hierarchical or JPEG-LS, does not have 8 bits,
            or states no height.
    """
    if read_headers(content).is_decoded:  # without a search in all bytes
        return
    for marker, position in markers(content):
        if marker in _REFUSED:
            name = _REFUSED[marker]
            raise UndecodablePicture(f"it is {name} (marker FF{marker:02X}), which is not decoded")
        if marker in FRAME_MARKERS and position + 6 < len(content):
            if content[position + 4] != 8:
                raise UndecodablePicture(f"it has {content[position + 4]} bits per sample; 8 are decoded")
            if content[position + 5 : position + 7] == b"\0\0":
                raise UndecodablePicture("its header has the height 0")
