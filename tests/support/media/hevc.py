"""An HEVC encoder for tests: each block of 16 x 16 pixels as PCM, so a decoder returns the very samples.

A picture has one intra slice without prediction, transform or filters (ITU-T H.265, sections 7.3 and 9.3).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 16
VPS, SPS, PPS, SLICE = 32, 33, 34, 19
# Width of the less probable interval of each state, in the highest quarter of ranges (table 9-52).
_LESS_PROBABLE = (
    240, 227, 216, 205, 195, 185, 175, 166, 158, 150, 142, 135, 128, 122, 116, 110, 104, 99, 94, 89, 85, 80,
    76, 72, 69, 65, 62, 59, 56, 53, 50, 48, 45, 43, 41, 39, 37, 35, 33, 31, 30, 28, 27, 25, 24, 23, 22, 21,
    20, 19, 18, 17, 16, 15, 14, 14, 13, 12, 12, 11, 11, 10, 9,
)  # fmt: skip


class Bits:
    """A string of bits."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def fixed(self, value: int, width: int) -> "Bits":
        """Append u(width)."""
        self._parts.append(format(value, f"0{width}b") if width else "")
        return self

    def exp_golomb(self, *values: int) -> "Bits":
        """Append ue(v) of each value."""
        for value in values:
            length = (value + 1).bit_length()
            self.fixed(value + 1, 2 * length - 1)
        return self

    def aligned(self, stop: int = 1) -> bytes:
        """The bytes, after a stop bit (1) or none (0 bits of padding only)."""
        text = "".join(self._parts) + "1" * stop
        text += "0" * (-len(text) % 8)
        return int(text, 2).to_bytes(len(text) // 8, "big") if text else b""


def parameter_sets(width: int, height: int, depth: int = 8, chroma: int = 1) -> list[bytes]:
    """VPS, SPS and PPS; chroma is 1 for 4:2:0, 0 for grey. The frame is padded to blocks, then cropped."""
    profile = Bits().fixed(0, 3).fixed(1 if depth == 8 else 2, 5).fixed(0x60000000, 32)
    profile.fixed(0b1001, 4).fixed(0, 44).fixed(120, 8)
    level = int.from_bytes(profile.aligned(0), "big")
    vps = Bits().fixed(0, 4).fixed(3, 2).fixed(0, 9).fixed(1, 1).fixed(0xFFFF, 16).fixed(level, 96)
    vps.fixed(1, 1).exp_golomb(0, 0, 0).fixed(0, 6).exp_golomb(0).fixed(0, 2)
    frame = -(-width // BLOCK) * BLOCK, -(-height // BLOCK) * BLOCK
    unit = 2 if chroma == 1 else 1
    sps = Bits().fixed(0, 4).fixed(0, 3).fixed(1, 1).fixed(level, 96).exp_golomb(0, chroma, *frame)
    sps.fixed(1, 1).exp_golomb(0, (frame[0] - width) // unit, 0, (frame[1] - height) // unit)
    sps.exp_golomb(depth - 8, depth - 8, 0).fixed(1, 1).exp_golomb(0, 0, 0)
    sps.exp_golomb(1, 0, 0, 2, 0, 0).fixed(0b0001, 4)  # no scaling lists, no AMP, no SAO, but PCM
    sps.fixed(depth - 1, 4).fixed(depth - 1, 4).exp_golomb(1, 0).fixed(1, 1).exp_golomb(0).fixed(0, 5)
    pps = Bits().exp_golomb(0, 0).fixed(0, 7).exp_golomb(0, 0, 0).fixed(0, 3).exp_golomb(0, 0).fixed(0, 7)
    pps.fixed(0b101, 3).fixed(0, 2).exp_golomb(0).fixed(0, 2)  # deblocking is off
    return [_unit(kind, bits.aligned()) for kind, bits in ((VPS, vps), (SPS, sps), (PPS, pps))]


def slice_unit(planes: list[NDArray[Any]], depth: int = 8) -> bytes:
    """The slice of a picture from its planes: Y, and with 4:2:0 also Cb and Cr, at half the size."""
    padded = [
        np.pad(plane, [(0, -side % size) for side in plane.shape], mode="edge")
        for plane, size in zip(planes, (BLOCK, BLOCK // 2, BLOCK // 2), strict=False)
    ]
    rows, columns = padded[0].shape[0] // BLOCK, padded[0].shape[1] // BLOCK
    data = [Bits().fixed(0b101, 3).exp_golomb(2).fixed(1, 1).aligned()]  # an IDR's only slice, of type I
    for block in range(rows * columns):
        data += [_pcm_flag(block), _samples(padded, block // columns, block % columns, depth)]
    return _unit(SLICE, b"".join([*data, _terminated(510)]))


def _samples(planes: list[NDArray[Any]], row: int, column: int, depth: int) -> bytes:
    parts = []
    for plane, size in zip(planes, (BLOCK, BLOCK // 2, BLOCK // 2), strict=False):
        parts.append(plane[row * size : (row + 1) * size, column * size : (column + 1) * size].ravel())
    values = np.concatenate(parts)
    if depth == 8:
        return values.astype(np.uint8).tobytes()
    bits = values[:, None] >> np.arange(depth - 1, -1, -1) & 1
    return np.packbits(bits.astype(np.uint8)).tobytes()


def _pcm_flag(block: int) -> bytes:
    """CABAC code that a block is not divided (part_mode) and is PCM; before it, that the slice goes on."""
    width = 510 - (2 if block else 0)
    return _terminated(width - _LESS_PROBABLE[min(block, len(_LESS_PROBABLE) - 1)])


def _terminated(width: int) -> bytes:
    """The code of a terminating bin, after bins that left the interval [0, width) (section 9.3.4.3.5)."""
    shift = int(width < 256)
    low = (width << shift) - 2
    # Nine bits hold the interval; its two last units are the bin's, and the last bit ends the code.
    return Bits().fixed(0, shift).fixed(low | 1, 9).aligned(0)


def _unit(kind: int, payload: bytes) -> bytes:
    """A NAL unit; 3 is inserted after two zeros that a small byte follows (section 7.4.2)."""
    content, zeros = bytearray((kind << 1, 1)), 0
    for byte in payload:
        if zeros >= 2 and byte <= 3:
            content.append(3)
            zeros = 0
        content.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(content)
