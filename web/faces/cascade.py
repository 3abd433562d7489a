"""The arithmetic between the networks of a face detector: candidates, overlaps, corrections. Pure NumPy.

Candidates are float rows (n, 5): left, top, right, bottom in pixels, right and bottom included, and a score.
Source: Zhang et al. 2016, "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional
Networks".
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from lake.pictures.pixels import RGB

CELL, STRIDE = 12, 2  # pixels that an output of the first network sees, and between two outputs
SCALE_STEP = 0.709  # between the levels of the pyramid: each has half the area of the one before

Candidates = NDArray[np.float64]
Offsets = NDArray[np.float64]  # (n, 4), corrections of the corners as shares of a candidate's size


def scales(height: int, width: int, smallest: int) -> list[float]:
    """Scales of a picture at which faces of `smallest` pixels and more have the size of a cell."""
    scale, found = CELL / smallest, []
    while min(height, width) * scale >= CELL:
        found.append(scale)
        scale *= SCALE_STEP
    return found


def scaled(rgb: RGB, scale: float) -> NDArray[np.float32]:
    """A level of the pyramid as the first network takes it: (1, width, height, 3)."""
    height, width = np.ceil(np.array(rgb.shape[:2]) * scale).astype(int)
    return _normalized(cv2.resize(rgb, (int(width), int(height)), interpolation=cv2.INTER_AREA)[None])


def candidates(
    probabilities: NDArray[np.float32], offsets: NDArray[np.float32], scale: float, least: float
) -> tuple[Candidates, Offsets]:
    """The cells in which the first network sees a face.

    Args:
        probabilities: (columns, rows), of a face in each cell.
        offsets: (columns, rows, 4).
        scale: of the level.
        least: probability.
    """
    columns, rows = np.nonzero(probabilities >= least)
    corners = np.stack([columns, rows], axis=1) * STRIDE
    boxes = np.concatenate([np.fix((corners + 1) / scale), np.fix((corners + CELL) / scale)], axis=1)
    scores = probabilities[columns, rows]
    return np.column_stack([boxes, scores]).astype(np.float64), offsets[columns, rows].astype(np.float64)


def without_overlaps(boxes: Candidates, most: float, of_smaller: bool = False) -> NDArray[np.int64]:
    """Non-maximum suppression: positions of the boxes that overlap none of a higher score.

    Args:
        boxes: (n, 5).
        most: overlap that two kept boxes may have, as a share of their union.
        of_smaller: as a share of the smaller one instead.
    """
    left, top, right, bottom, scores = boxes.T
    areas = (right - left + 1) * (bottom - top + 1)
    order, kept = np.argsort(-scores, kind="stable"), []
    while order.size:
        first, rest = order[0], order[1:]
        kept.append(first)
        across = np.minimum(right[first], right[rest]) - np.maximum(left[first], left[rest]) + 1
        down = np.minimum(bottom[first], bottom[rest]) - np.maximum(top[first], top[rest]) + 1
        shared = across.clip(0) * down.clip(0)
        whole = np.minimum(areas[first], areas[rest]) if of_smaller else areas[first] + areas[rest] - shared
        order = rest[shared <= most * whole]
    return np.array(kept, np.int64)


def corrected(boxes: Candidates, offsets: Offsets, size: int = 0) -> Candidates:
    """Move the corners by a network's offsets; `size` is added to the sides that these are shares of."""
    sides = boxes[:, 2:4] - boxes[:, 0:2] + size
    moved = boxes.copy()
    moved[:, 0:4] += offsets * np.tile(sides, 2)
    return moved


def squared(boxes: Candidates) -> Candidates:
    """Boxes as squares around the same centres, on whole pixels."""
    sides = boxes[:, 2:4] - boxes[:, 0:2]
    longest = sides.max(axis=1, keepdims=True)
    made = boxes.copy()
    made[:, 0:2] += (sides - longest) / 2
    made[:, 2:4] = made[:, 0:2] + longest
    made[:, 0:4] = np.fix(made[:, 0:4])
    return made


def patches(rgb: RGB, boxes: Candidates, side: int) -> NDArray[np.float32]:
    """The pictures in the boxes as the later networks take them: (n, side, side, 3), columns before rows.

    What lies outside the picture is black.
    """
    height, width = rgb.shape[:2]
    made = np.zeros((len(boxes), side, side, 3), np.uint8)
    for number, (left, top, right, bottom) in enumerate(boxes[:, 0:4].astype(int)):
        left, top = left - 1, top - 1  # the networks count pixels from 1
        patch = np.zeros((max(bottom - top, 1), max(right - left, 1), 3), np.uint8)
        inside = rgb[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
        down, across = max(-top, 0), max(-left, 0)
        patch[down : down + inside.shape[0], across : across + inside.shape[1]] = inside
        made[number] = cv2.resize(patch, (side, side), interpolation=cv2.INTER_AREA)
    return _normalized(made)


def _normalized(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Values from -1 to 1. The networks were trained with rows and columns exchanged."""
    values = (pictures.astype(np.float32) - np.float32(127.5)) / np.float32(128)
    return values.transpose(0, 2, 1, 3)
