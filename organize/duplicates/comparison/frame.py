"""The frame around a picture: a border of one colour that somebody added. Pictures are compared without it.

A frame ends in straight edges at which much of the picture differs from it. That tells it from the paper
around a drawing, or from the wall behind a thing.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from lake.pictures import pixels

_SAME = 14  # grey levels by which pixels of a frame differ from its colour, at most
_UNIFORM = 0.98  # share of a line of a frame that has its colour
_LEAST, _MOST = 0.015, 0.25  # width of a frame over the side of the picture
_DIFFERENT = 24  # grey levels from which a pixel is no frame
_EDGE = 0.3  # share of the lines just inside the frame that differ from it
_BARS_EDGE = 0.6  # likewise where only two opposite sides have a border

Widths = tuple[int, int, int, int]  # at the top, bottom, left and right (pixels)


def inside(rgb: pixels.RGB) -> pixels.RGB:
    """The picture inside its frame, on four sides or on two opposite ones; the picture itself if it has none.

    Args:
        rgb: uint8 (h, w, 3).
    """
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.int16)
    for sides, edge in ((_ALL, _EDGE), (_BARS, _BARS_EDGE), (_PILLARS, _BARS_EDGE)):
        shares = {widths: _edge(gray, widths) for widths in _possible(gray, sides)}
        best = max(shares, key=lambda widths: shares[widths], default=None)
        if best is not None and shares[best] >= edge:
            return rgb[_part(gray, best)]
    return rgb


_ALL, _BARS, _PILLARS = (True, True), (True, False), (False, True)  # horizontal borders, vertical ones


def _possible(gray: NDArray[np.int16], sides: tuple[bool, bool]) -> list[Widths]:
    """Widths of the lines of one colour; and the least of them on all sides.

    Where the picture has the colour of the frame, as a white sky has, its lines seem to be the frame's.
    """
    colour = _colour(gray, sides)
    top, bottom = _widths(gray, colour) if sides[0] else (0, 0)
    left, right = _widths(gray.T, colour) if sides[1] else (0, 0)
    measured = (top, bottom, left, right)
    bordered = [sides[0], sides[0], sides[1], sides[1]]
    least = min(width for width, used in zip(measured, bordered, strict=True) if used)
    even = tuple(least if used else 0 for used in bordered)
    lengths = (*gray.shape[:1] * 2, *gray.shape[1:] * 2)
    return [
        widths
        for widths in (measured, (even[0], even[1], even[2], even[3]))
        if all(
            not used or _LEAST <= width / length <= _MOST
            for width, length, used in zip(widths, lengths, bordered, strict=True)
        )
    ]


def _colour(gray: NDArray[np.int16], sides: tuple[bool, bool]) -> int:
    lines = [*(gray[[0, -1]] if sides[0] else ()), *(gray[:, [0, -1]].T if sides[1] else ())]
    return int(np.median(np.concatenate(lines)))


def _widths(gray: NDArray[np.int16], colour: int) -> tuple[int, int]:
    """How many rows at the top and at the bottom have the colour."""
    other = np.flatnonzero((np.abs(gray - colour) <= _SAME).mean(axis=1) < _UNIFORM)
    return (int(other[0]), len(gray) - 1 - int(other[-1])) if len(other) else (len(gray), len(gray))


def _part(gray: NDArray[np.int16], widths: Widths) -> tuple[slice, slice]:
    top, bottom, left, right = widths
    return slice(top, gray.shape[0] - bottom), slice(left, gray.shape[1] - right)


def _edge(gray: NDArray[np.int16], widths: Widths) -> float:
    """Share of the picture's outermost pixels inside the frame that differ from it."""
    inner = gray[_part(gray, widths)]
    horizontal, vertical = widths[0] > 0, widths[2] > 0
    colour = _colour(gray, (horizontal, vertical))
    lines = [*(inner[[0, -1]] if horizontal else ()), *(inner[:, [0, -1]].T if vertical else ())]
    return float((np.abs(np.concatenate(lines) - colour) >= _DIFFERENT).mean())
