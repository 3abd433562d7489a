import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from conf import settings as configuration
from conf.choices import Flag
from streaming.verify import quality
from streaming.verify.phash import phash
from streaming.verify.quality import Metrics

GREY = np.full((40, 50), 100, np.uint8)
HALVES = np.repeat(np.array([[0, 255]], np.uint8), 25, axis=1).repeat(40, axis=0)


def test_brightness_is_the_mean() -> None:
    assert quality.brightness(GREY) == 100
    assert quality.brightness(HALVES) == 127.5


def test_sharpness_of_one_edge_on_paper() -> None:
    """One vertical edge of 255: its two columns answer +255 and -255, the other 48 answer 0."""
    assert quality.sharpness(GREY) == 0
    assert quality.sharpness(HALVES) == pytest.approx(2 * 255**2 / 50)


def test_entropy_in_bits() -> None:
    assert quality.entropy(GREY) == 0
    assert quality.entropy(HALVES) == 1
    assert quality.entropy(np.arange(256, dtype=np.uint8).reshape(16, 16)) == 8


def test_chroma_is_the_spread_of_the_channels() -> None:
    assert quality.chroma(cv2.cvtColor(GREY, cv2.COLOR_GRAY2RGB)) == 0
    assert quality.chroma(np.full((8, 8, 3), (200, 50, 90), np.uint8)) == 150


def test_aspect_does_not_depend_on_direction() -> None:
    assert quality.aspect(300, 100) == quality.aspect(100, 300) == 3


PLAIN = Metrics(brightness=120, sharpness=500, entropy=6, chroma=40, aspect=1.5)


@pytest.mark.parametrize(
    ("metric", "value", "flag"),
    [
        ("brightness", 39.9, Flag.DARK),
        ("brightness", 225.1, Flag.BRIGHT),
        ("sharpness", 39.9, Flag.BLURRY),
        ("entropy", 1.9, Flag.LOW_INFORMATION),
        ("chroma", 2.9, Flag.GRAYSCALE),
        ("aspect", 3.1, Flag.ODD_ASPECT),
    ],
)
def test_each_threshold_sets_its_flag_alone(metric: str, value: float, flag: Flag) -> None:
    limits = configuration.load().quality
    assert quality.flags(PLAIN, 640, 480, limits) == []
    assert quality.flags(PLAIN._replace(**{metric: value}), 640, 480, limits) == [flag]


@pytest.mark.parametrize(("width", "height", "odd"), [(32, 32, False), (32, 31, True), (8000, 6000, True)])
def test_odd_size_by_the_pixels_of_the_original(width: int, height: int, odd: bool) -> None:
    limits = configuration.load().quality
    assert (Flag.ODD_SIZE in quality.flags(PLAIN, width, height, limits)) is odd


_HASHES = """
import numpy as np
from streaming.verify.phash import phash
y, x = np.mgrid[0:240, 0:320]
for plane in (x, y, x + y, x * y, (x // 40 + y // 40) % 2, np.hypot(x - 160, y - 120)):
    print(phash((255 * plane / plane.max()).astype(np.uint8)))
"""


@pytest.mark.parametrize("threads", ["1", "2"])
def test_phash_is_the_same_whichever_processor_computes_it(threads: str) -> None:
    found = set()
    for processor in ("", "Prescott", "Haswell"):  # as numpy's library of matrices names them
        environment = os.environ | {"OPENBLAS_CORETYPE": processor, "OPENBLAS_NUM_THREADS": threads}
        command = [sys.executable, "-c", _HASHES]
        found.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(found) == 1


def test_phash_survives_shrinking_and_brightening_but_tells_pictures_apart() -> None:
    def bits(a: int, b: int) -> int:
        return ((a ^ b) & (2**64 - 1)).bit_count()

    rng = np.random.default_rng(3)
    one, other = (cv2.resize(rng.integers(0, 200, (9, 9), np.uint8), (256, 256)) for _ in range(2))
    assert bits(phash(one), phash(cv2.resize(one, (90, 90), interpolation=cv2.INTER_AREA))) <= 2
    assert bits(phash(one), phash(one + 20)) <= 2
    assert bits(phash(one), phash(other)) > 16
    assert -(2**63) <= phash(one) < 2**63
