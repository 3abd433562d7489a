"""Pictures for tests of near duplicates: scenes with texture and edges, made from a seed."""

import cv2
import numpy as np
from numpy.typing import NDArray

RGB = NDArray[np.uint8]


def scene(seed: int, width: int = 240, height: int = 180) -> RGB:
    """A picture that looks like no other: coloured clouds of several sizes, with shapes on them."""
    rng = np.random.default_rng(seed)
    values = np.zeros((height, width, 3), np.float32)
    for size in (3, 6, 12, 24):
        noise = rng.standard_normal((size, size, 3)).astype(np.float32)
        values += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC) * 24
    picture = np.clip(values + 128, 0, 255).astype(np.uint8)
    for _ in range(8):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        axes = (int(rng.integers(6, width // 5)), int(rng.integers(6, height // 5)))
        cv2.ellipse(picture, centre, axes, float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
    return picture


def wall(seed: int, width: int = 240, height: int = 180) -> RGB:
    """A photograph of a blank wall: light that falls off to one side, and the noise of a camera."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(0, rng.uniform(5, 30), width, dtype=np.float32)
    values = rng.uniform(120, 200) + slope + rng.normal(0, 3, (height, width)).astype(np.float32)
    return np.repeat(np.clip(values, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def reencoded(rgb: RGB, quality: int = 30) -> RGB:
    """The picture after a JPEG of low quality."""
    _, data = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def cropped(rgb: RGB, area: float, seed: int = 0) -> RGB:
    """The picture without a share of its area, cut anywhere, of the same aspect."""
    rng = np.random.default_rng(seed)
    height, width = (max(1, round(side * (1 - area) ** 0.5)) for side in rgb.shape[:2])
    top, left = int(rng.integers(rgb.shape[0] - height + 1)), int(rng.integers(rgb.shape[1] - width + 1))
    return rgb[top : top + height, left : left + width]


def resized(rgb: RGB, scale: float = 0.5) -> RGB:
    """The picture with shorter sides."""
    return np.asarray(cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def lit(rgb: RGB, factor: float) -> RGB:
    """The picture with another brightness."""
    return np.clip(rgb * np.float32(factor), 0, 255).astype(np.uint8)


def turned(rgb: RGB, degrees: float = 5) -> RGB:
    """The picture turned about its centre, with black corners."""
    height, width = rgb.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return np.asarray(cv2.warpAffine(rgb, matrix, (width, height)), np.uint8)


def framed(rgb: RGB, share: float = 0.06) -> RGB:
    """The picture with a white border; its width is a share of the longest side."""
    width = max(2, round(max(rgb.shape[:2]) * share))
    sides = ((width, width), (width, width), (0, 0))
    return np.pad(rgb, sides, constant_values=255)


def mirrored(rgb: RGB) -> RGB:
    """The mirror image, left and right exchanged."""
    return np.ascontiguousarray(rgb[:, ::-1])
