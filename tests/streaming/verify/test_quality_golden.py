"""Golden pictures: every metric is calculated on paper, every flag is tested on both sides of its threshold.

All are PNGs of at most 256 pixels, so they are measured as they are: nothing is lost or shrunk.
Thresholds are the defaults: dark 40, bright 225, blurry 40, low_information 2, odd_aspect 3, grayscale 3.
"""

import io
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from streaming.verify.prepared import Prepared
from streaming.verify.preprocess import prepare
from streaming.verify.quality import flags
from tests.support.verdicts import rules

RGB = NDArray[np.uint8]


def prepared(rgb: RGB) -> Prepared:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "PNG")
    return prepare(file.getvalue(), rules())


def plain(red: int, green: int, blue: int, width: int = 64, height: int = 64) -> RGB:
    return np.full((height, width, 3), (red, green, blue), np.uint8)


def gray(values: NDArray[np.integer]) -> RGB:
    return np.repeat(values.astype(np.uint8)[..., None], 3, axis=2)


def columns(*values: int, width: int = 64) -> RGB:
    """Gray columns of equal width, one beside the other, 64 pixels high."""
    return gray(np.repeat(np.array([values]), width // len(values), axis=1).repeat(64, axis=0))


def chequered(low: int, high: int) -> RGB:
    """Pixels in turn, as on a chessboard."""
    return gray(np.where(np.indices((64, 64)).sum(axis=0) % 2, high, low))


def mixed(one: RGB, other: RGB) -> RGB:
    """The upper half of one picture and the lower half of another."""
    return np.vstack([one[:32], other[32:]])


# Luma Y = 0.299 R + 0.587 G + 0.114 B, rounded, then the mean:
#   red 0.299 * 255 = 76.2; green 0.587 * 255 = 149.7; blue 0.114 * 255 = 29.1
#   (10, 50, 70): 2.99 + 29.35 + 7.98 = 40.3, and (10, 49, 70): 39.7, which both round to 40
BRIGHTNESS = [
    (plain(0, 0, 0), 0),
    (plain(255, 255, 255), 255),
    (plain(255, 0, 0), 76),
    (plain(0, 255, 0), 150),
    (plain(0, 0, 255), 29),
    (plain(10, 50, 70), 40),
    (mixed(plain(0, 0, 0), plain(255, 255, 255)), 127.5),
    (columns(39, 40), 39.5),
]

# Laplacian 0 1 0, 1 -4 1, 0 1 0, edges mirrored about the outermost pixel; its variance:
#   no edge: 0 everywhere
#   a step of height a in 64 columns: +a in one column, -a in the next, 62 zeros; mean 0: 2 a^2 / 64
#   a line of one column and height a, in the middle: -2a there, +a on both sides: (4 + 1 + 1) a^2 / 64
#   a chessboard of a: all four neighbours differ by a: +4a and -4a in equal numbers: 16 a^2
#   a ramp of slope 1 in 64 columns: 0 inside; at the edges the mirrored neighbour gives +2 and -2: 2 * 4 / 64
SHARPNESS = [
    (plain(90, 90, 90), 0),
    (columns(100, 135), 2 * 35**2 / 64),
    (columns(0, 255), 2 * 255**2 / 64),
    (gray(np.where(np.arange(64) == 30, 120, 100) + np.zeros((64, 1), int)), 6 * 20**2 / 64),
    (chequered(100, 101), 16),
    (chequered(100, 110), 1600),
    (gray(np.arange(64) + 80 + np.zeros((64, 1), int)), 8 / 64),
]

# -sum(p log2 p):
#   k values in equal parts: log2 k
#   1/2, 1/4, 1/4: 0.5 * 1 + 0.25 * 2 + 0.25 * 2 = 1.5
#   3/4, 1/4: 0.75 * 0.41504 + 0.25 * 2 = 0.81128
ENTROPY = [
    (plain(7, 7, 7), 0),
    (columns(10, 200), 1),
    (columns(10, 60, 110, 160), 2),
    (columns(*range(0, 256, 4)), 6),
    (gray(np.arange(4096).reshape(64, 64) // 16), 8),
    (columns(10, 10, 60, 110), 1.5),
    (columns(10, 10, 10, 60), 0.811278),
]

# max(R, G, B) - min(R, G, B), then the mean:
CHROMA = [
    (plain(80, 80, 80), 0),
    (plain(255, 0, 0), 255),
    (plain(200, 50, 90), 150),
    (mixed(plain(100, 100, 105), plain(80, 80, 80)), 2.5),
]


@pytest.mark.parametrize(("picture", "expected"), BRIGHTNESS)
def test_brightness_on_paper(picture: RGB, expected: float) -> None:
    assert prepared(picture).metrics.brightness == expected


@pytest.mark.parametrize(("picture", "expected"), SHARPNESS)
def test_sharpness_on_paper(picture: RGB, expected: float) -> None:
    assert prepared(picture).metrics.sharpness == pytest.approx(expected)


@pytest.mark.parametrize(("picture", "expected"), ENTROPY)
def test_entropy_on_paper(picture: RGB, expected: float) -> None:
    assert prepared(picture).metrics.entropy == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("picture", "expected"), CHROMA)
def test_chroma_on_paper(picture: RGB, expected: float) -> None:
    assert prepared(picture).metrics.chroma == expected


@pytest.mark.parametrize(
    ("width", "height", "expected"), [(64, 64, 1), (128, 64, 2), (64, 128, 2), (100, 40, 2.5)]
)
def test_aspect_on_paper(width: int, height: int, expected: float) -> None:
    assert prepared(plain(9, 9, 9, width, height)).metrics.aspect == expected


SIDES = [
    # flag; a picture just beyond the threshold, with the flag; one on or just before it, without the flag
    ("dark", columns(39, 40), plain(40, 40, 40)),
    ("dark", plain(0, 0, 255), plain(255, 0, 0)),
    ("bright", columns(225, 226), plain(225, 225, 225)),
    ("bright", plain(226, 226, 226), plain(224, 224, 224)),
    # 2 a^2 / 64 = 40 at a = 35.8
    ("blurry", columns(100, 135), columns(100, 136)),
    # 16 a^2: 16 and 64
    ("blurry", chequered(100, 101), chequered(100, 102)),
    # log2 3 = 1.58 and log2 4 = 2
    ("low_information", columns(10, 90, 170, width=63), columns(10, 60, 110, 160)),
    ("odd_aspect", plain(90, 90, 90, 97, 32), plain(90, 90, 90, 96, 32)),
    ("odd_aspect", plain(90, 90, 90, 32, 97), plain(90, 90, 90, 32, 96)),
    ("grayscale", plain(100, 100, 102), plain(100, 100, 103)),
    (
        "grayscale",
        mixed(plain(100, 100, 105), plain(80, 80, 80)),
        mixed(plain(100, 100, 106), plain(80, 80, 80)),
    ),
]


@pytest.mark.parametrize(
    ("flag", "holds", "holds_not"), SIDES, ids=[f"{n}-{s[0]}" for n, s in enumerate(SIDES)]
)
def test_flag_on_both_sides_of_its_threshold(flag: str, holds: RGB, holds_not: RGB) -> None:
    assert flag in prepared(holds).flags
    assert flag not in prepared(holds_not).flags


def test_default_thresholds_are_those_of_this_file() -> None:
    limits = rules().quality
    assert (limits.dark, limits.bright, limits.blurry) == (40, 225, 40)
    assert (limits.low_information, limits.odd_aspect, limits.grayscale) == (2, 3, 3)
    assert limits.odd_size == (1024, 40_000_000)


def test_odd_size_is_measured_on_the_original() -> None:
    """400 x 300 is 120,000 pixels; stored are 256 x 192, 49,152."""
    picture = plain(90, 90, 90, 400, 300)
    assert "odd_size" not in prepared(picture).flags
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    for bounds, odd in {(120_000, 120_000): False, (120_001, 10**6): True, (1, 119_999): True}.items():
        own = replace(rules(), quality=rules().quality.model_copy(update={"odd_size": bounds}))
        assert ("odd_size" in prepare(file.getvalue(), own).flags) is odd


@pytest.mark.parametrize(
    ("width", "height", "odd"),
    [(32, 32, False), (31, 33, True), (8000, 5000, False), (5000, 8000, False), (8000, 5001, True)],
)
def test_odd_size_by_default(width: int, height: int, odd: bool) -> None:
    """32 * 32 = 1,024; 31 * 33 = 1,023; 8,000 * 5,000 = 40,000,000."""
    metrics = prepared(plain(90, 90, 90)).metrics
    assert ("odd_size" in flags(metrics, width, height, rules().quality)) is odd


def test_ordinary_photo_has_no_flag() -> None:
    """Coarse squares in all colours: bright in part, dark in part, sharp at their edges."""
    squares = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8)
    assert prepared(squares.repeat(16, axis=0).repeat(20, axis=1)).flags == ()
