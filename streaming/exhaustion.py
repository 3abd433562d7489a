"""JPEGs whose data ends before their picture does, though an end marker follows. Pure: no Spark.

A decoder fills what is missing of such a file with grey and says nothing. Uploads that were cut and closed
again look like this: by a proxy, by a phone out of space, by a tool that "repairs" files.
"""

from collections.abc import Callable

import numpy as np

from lake.pixels import RGB
from streaming import verify
from streaming.verdict import Reason, Rejected

# Coefficients that are not there are 0, and a block of zeros is 128 in every channel; Pillow makes 63 or 64
# of that in CMYK. Only pictures that end in such a grey are looked at again.
_GREYS = (63, 64, 128)
# Huffman data of arbitrary content: no byte of it is the first of a marker.
_FILLER = bytes(range(1, 255)) * 4
_ARITHMETIC = {0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}  # such a scan may leave out zeros at its end
_SOS = 0xDA


def check(content: bytes, rgb: RGB, decode: Callable[[bytes], RGB]) -> None:
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
    corner = rgb[-1, -2:]
    if int(corner[0, 0]) not in _GREYS or np.ptp(corner):
        return
    filled = _filled(content)
    if filled is not None and not np.array_equal(decode(filled), rgb):
        raise Rejected(Reason.TRUNCATED, "the data ends before the picture does")


def _filled(content: bytes) -> bytes | None:
    """The JPEG with a filler at the end of each scan; None where that would prove nothing."""
    parts: list[bytes] = []
    copied, in_scan = 0, False
    for marker, position in verify.markers(content):
        if marker in _ARITHMETIC:
            return None
        if in_scan:
            while content[position - 1] == 0xFF:  # padding of the marker; the filler would make one of it
                position -= 1
            parts += [content[copied:position], _FILLER]
            copied = position
        in_scan = marker == _SOS
    return b"".join([*parts, content[copied:]])
