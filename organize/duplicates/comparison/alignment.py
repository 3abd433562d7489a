"""Alignment of two pictures: the geometric map between them, and how well they agree under it.

All works on the small squares of pictures: crops, borders, other sizes and other aspects are axis-parallel
affine maps between squares, small rotations nearly so. A coarse search over scales and shifts finds the
start, and ECC refines it to an affine map. Agreement is measured in a band of frequencies, because light and
blur change the low ones and compression the high ones.
"""

from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from organize.duplicates.comparison.picture_square import SIDE, Square

COARSE = 16  # side of the squares of the coarse search (pixels)
_MARGIN = 2  # by which a shrunk picture may lie outside the other (pixels of COARSE)
_SCALES = (1.0, 0.94, 0.88, 0.82, 0.75, 0.69)  # side of a crop over the side of the whole picture
_COARSE_BAND = (0.5, 2.0)  # standard deviations of the two Gaussians (pixels of COARSE)
_BAND = (1.0, 4.0)  # likewise (pixels of SIDE)
_ECC = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)
_ECC_BLUR = 3  # side of the Gaussian filter (pixels, odd)
_COARSE_CONTRAST = 4.0  # standard deviation of the Gaussian that averages contrast (pixels of SIDE)
_LEAST_SHARED = 0.2  # share of a picture below which nothing is measured

Gray = NDArray[np.float32]
Matrix = NDArray[np.float32]  # (2, 3), from points (x, y, 1) of the first square to points of the second


@dataclass(frozen=True)
class CoarseView:
    """A square prepared for the coarse search: from one picture, used for all its candidates.

    Args:
        padded: band of frequencies with a margin, float32 (20, 20).
        templates: the band at each scale.
    """

    padded: Gray
    templates: tuple[Gray, ...]

    @classmethod
    def of(cls, square: Square) -> "CoarseView":
        """Prepare a square."""
        band = _band(cv2.resize(square, (COARSE, COARSE), interpolation=cv2.INTER_AREA), *_COARSE_BAND)
        margins = (_MARGIN,) * 4
        padded = cv2.copyMakeBorder(band, *margins, cv2.BORDER_CONSTANT, value=0)
        sides = [round(COARSE * scale) for scale in _SCALES]
        small = [cv2.resize(band, (side, side), interpolation=cv2.INTER_AREA) for side in sides[1:]]
        return cls(padded, (band, *small))


@dataclass(frozen=True)
class Placement:
    """The best result of the coarse search.

    Args:
        correlation: of the bands, -1 to 1.
        matrix: from the first square to the second.
    """

    correlation: float
    matrix: Matrix


@dataclass(frozen=True)
class Agreement:
    """How two aligned squares agree.

    Args:
        correlation: of their bands of frequencies where both have pixels, -1 to 1.
        freedom: effective number of independent pixels in it. Strokes on paper have few, foliage has many.
        shared_first, shared_second: share of each picture that the other shows, 0–1.
        matrix: from the first square to the second.
    """

    correlation: float
    freedom: float
    shared_first: float
    shared_second: float
    matrix: Matrix

    @property
    def significance(self) -> float:
        """Fisher's z of the correlation in standard deviations of unrelated pictures with this freedom.

        Source: R. A. Fisher, "Frequency distribution of the values of the correlation coefficient", 1915.
        """
        return float(np.arctanh(min(self.correlation, 0.9999)) * np.sqrt(max(self.freedom - 3, 0)))


def place(first: CoarseView, second: CoarseView) -> Placement:
    """Find where one picture lies in the other, at one of the scales: whichever correlates best.

    Returns:
        the placement; correlation -1 if both are blank.
    """
    best, matrix = -1.0, np.eye(2, 3, dtype=np.float32)
    for (inverse, (inner, outer)), index in product(
        enumerate(((first, second), (second, first))), range(len(_SCALES))
    ):
        if inverse and not index:
            continue  # scale 1 is symmetric
        template = inner.templates[index]
        scores = cv2.matchTemplate(outer.padded, template, cv2.TM_CCOEFF_NORMED)
        _, score, _, (x, y) = cv2.minMaxLoc(scores)
        if np.isfinite(score) and score > best:
            best = score
            found = _matrix(len(template) / COARSE, x - _MARGIN, y - _MARGIN)
            matrix = cv2.invertAffineTransform(found) if inverse else found
    return Placement(best, matrix.astype(np.float32))


def _matrix(scale: float, x: int, y: int) -> Matrix:
    """Matrix of a scale and a shift (pixels of COARSE) in pixels of SIDE; pixel centres are integers."""
    unit, half = SIDE / COARSE, (scale - 1) / 2
    return np.array([[scale, 0, x * unit + half], [0, scale, y * unit + half]], np.float32)


def refine(first: Square, second: Square, start: Matrix) -> Matrix:
    """Refine the map between two squares to an affine one; the start itself if that does not converge.

    Source: Evangelidis, Psarakis, "Parametric image alignment using enhanced correlation coefficient
    maximization", PAMI 2008.
    """
    try:
        _, matrix = cv2.findTransformECC(
            first, second, start.copy(), cv2.MOTION_AFFINE, _ECC, None, _ECC_BLUR
        )
    except cv2.error:  # the pictures do not overlap, or have nothing in common
        return start
    return np.asarray(matrix, np.float32)


def agreement(first: Square, second: Square, matrix: Matrix) -> Agreement:
    """Measure how two squares agree under a map from the first to the second."""
    shared = _shared(matrix)
    area = abs(float(np.linalg.det(matrix[:, :2])))
    if shared < _LEAST_SHARED:
        return Agreement(0.0, 0.0, shared, shared * area, matrix)
    size, flags = (SIDE, SIDE), cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(
        second, matrix, size, flags=flags | cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    inside = cv2.warpAffine(np.ones(size, np.float32), matrix, size, flags=flags | cv2.INTER_NEAREST)
    inside = cv2.erode(inside, np.ones((3, 3), np.uint8), borderValue=1)
    one, two = (_centred(_band(square, *_BAND), inside) for square in (first, warped))
    norm = float(np.sqrt((one * one).sum() * (two * two).sum()))
    correlation = float((one * two).sum()) / norm if norm > 0 else 0.0
    freedom = _freedom(one, two) * _spread(one, two)
    return Agreement(correlation, freedom, shared, min(1.0, shared * area), matrix)


def _shared(matrix: Matrix) -> float:
    """Share of the first square that the second shows."""
    corners = np.array([[0, 0], [SIDE, 0], [SIDE, SIDE], [0, SIDE]], np.float32) - 0.5
    inverse = cv2.invertAffineTransform(matrix)
    outline = cv2.transform(corners[None], inverse)[0].astype(np.float32)
    area, _ = cv2.intersectConvexConvex(corners, outline)
    return float(np.clip(area / SIDE**2, 0, 1))


def _band(square: NDArray[np.uint8], fine: float, coarse: float) -> Gray:
    """The difference of two Gaussian filters with these standard deviations (pixels)."""
    values = square.astype(np.float32)
    return cv2.GaussianBlur(values, (0, 0), fine) - cv2.GaussianBlur(values, (0, 0), coarse)


def _centred(values: Gray, inside: Gray) -> Gray:
    """The values with mean 0 inside, and 0 outside."""
    masked = values * inside
    return masked - inside * (masked.sum() / max(1.0, inside.sum()))


def _freedom(one: Gray, two: Gray) -> float:
    """Effective number of independent pixels of a correlation of two stationary fields.

    The variance of the correlation of unrelated fields is the mean product of their autocorrelations, which
    is by Parseval the product of their power spectra.

    Source: Clifford, Richardson, Hémon, "Assessing the significance of the correlation between two spatial
    processes", Biometrics 1989.
    """
    power = [np.abs(np.fft.rfft2(values)) ** 2 for values in (one, two)]
    weight = np.full(SIDE // 2 + 1, 2.0)  # rfft2 has each frequency once but the first and the last column
    weight[[0, -1]] = 1.0
    product_sum = float((power[0] * power[1] * weight).sum())
    if product_sum == 0:
        return 0.0
    return float((power[0] * weight).sum() * (power[1] * weight).sum()) / product_sum


def _spread(one: Gray, two: Gray) -> float:
    """Share of the square over which the contrast of both is spread, 0–1.

    Fields with all their contrast in one place are not stationary: only that place has independent pixels.
    """
    contrast = cv2.GaussianBlur(np.abs(one * two), (0, 0), _COARSE_CONTRAST)
    squares = float((contrast * contrast).sum())
    return float(contrast.sum()) ** 2 / squares / SIDE**2 if squares > 0 else 0.0
