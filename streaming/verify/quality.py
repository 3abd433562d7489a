"""Quality metrics of a picture with formula and source, and the flags that their thresholds set.

Where cleanvision (https://github.com/cleanlab/cleanvision) has a metric, it is used here. All are measured
on the stored picture (longest side 256 pixels by default), so they do not depend on the camera.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from conf.choices import Flag
from conf.sections import Quality
from lake.pictures.pixels import RGB

Gray = NDArray[np.uint8]


class Metrics(NamedTuple):
    """Quality metrics of one picture; the function with a field's name describes the field."""

    brightness: float
    sharpness: float
    entropy: float
    chroma: float
    aspect: float


def brightness(gray: Gray) -> float:
    """Mean luma, 0 (black) to 255; luma Y = 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601)."""
    return float(cv2.mean(gray)[0])


def sharpness(gray: Gray) -> float:
    """Variance of the Laplacian (0 1 0, 1 -4 1, 0 1 0; edges mirrored); low without edges.

    Source: Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000.
    """
    edges = cv2.Laplacian(gray, cv2.CV_16S)
    mean = cv2.sumElems(edges)[0] / edges.size
    return float(cv2.norm(edges, cv2.NORM_L2SQR) / edges.size - mean * mean)


def entropy(gray: Gray) -> float:
    """Shannon entropy of the luma histogram, -sum(p log2 p) over 256 bins; 0 to 8 bits.

    Source: Shannon, "A mathematical theory of communication", 1948, section 6.
    """
    counts = cv2.calcHist([gray], [0], None, [256], [0, 256])
    shares = counts[counts > 0].astype(np.float64) / gray.size
    return float(abs(np.dot(shares, np.log2(shares))))


def chroma(rgb: RGB) -> float:
    """Mean over the pixels of max(R, G, B) - min(R, G, B); 0 if all pixels are grey.

    Source: chroma of the HSV and HSL hexagon (Smith, "Color gamut transform pairs", SIGGRAPH 1978), 0 to 255.
    """
    red, green, blue = cv2.split(rgb)
    largest = cv2.max(cv2.max(red, green), blue)
    smallest = cv2.min(cv2.min(red, green), blue)
    return float(cv2.mean(cv2.subtract(largest, smallest))[0])


def aspect(width: int, height: int) -> float:
    """Longest over shortest side, 1 for a square; the inverse of cleanvision's odd_aspect_ratio score."""
    return max(width, height) / min(width, height)


def measure(rgb: RGB, gray: Gray, width: int, height: int) -> Metrics:
    """Measure all metrics of a picture.

    Args:
        rgb: the stored picture, uint8 (h, w, 3).
        gray: its luma, uint8 (h, w).
        width, height: of the original, in pixels.
    """
    return Metrics(brightness(gray), sharpness(gray), entropy(gray), chroma(rgb), aspect(width, height))


def flags(metrics: Metrics, width: int, height: int, limits: Quality) -> list[Flag]:
    """The flags that a picture gets by the thresholds of the settings; a value on its threshold sets none.

    Args:
        width, height: of the original, in pixels.
    """
    fewest, most = limits.odd_size
    conditions = {
        Flag.DARK: metrics.brightness < limits.dark,
        Flag.BRIGHT: metrics.brightness > limits.bright,
        Flag.BLURRY: metrics.sharpness < limits.blurry,
        Flag.LOW_INFORMATION: metrics.entropy < limits.low_information,
        Flag.ODD_ASPECT: metrics.aspect > limits.odd_aspect,
        Flag.ODD_SIZE: not fewest <= width * height <= most,
        Flag.GRAYSCALE: metrics.chroma < limits.grayscale,
    }
    return [flag for flag, holds in conditions.items() if holds]
