"""RandAugment: random operations from a fixed list, all at one magnitude."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

MAX_MAGNITUDE = 10.0  # magnitude of the strongest effect
FILL = (128, 128, 128)  # colour of pixels outside the moved picture

Operation = Callable[[Image.Image, float], Image.Image]


def _affine(image: Image.Image, *matrix: float) -> Image.Image:
    """Apply an affine map about the centre: output (x, y) shows input (ax + by + c, dx + ey + f)."""
    a, b, c, d, e, f = matrix
    x, y = (image.width - 1) / 2, (image.height - 1) / 2
    # Pillow counts from pixel corners, this from pixel centres; for shears and shifts the offsets cancel.
    centred = (a, b, c + x - a * x - b * y, d, e, f + y - d * x - e * y)
    return image.transform(
        image.size, Image.Transform.AFFINE, centred, Image.Resampling.BILINEAR, fillcolor=FILL
    )


def _shift(image: Image.Image, x: float, y: float) -> Image.Image:
    return _affine(image, 1, 0, -round(x * image.width), 0, 1, -round(y * image.height))


# Operations take a level from -1 to 1; ranges as in Cubuk et al. 2019 ("AutoAugment"), table 6.
# None mirrors a picture: only the dataset decides whether mirroring is allowed.
OPERATIONS: dict[str, Operation] = {
    "identity": lambda image, level: image,
    "autocontrast": lambda image, level: ImageOps.autocontrast(image),
    "equalize": lambda image, level: ImageOps.equalize(image),
    "posterize": lambda image, level: ImageOps.posterize(image, 8 - round(4 * abs(level))),
    "solarize": lambda image, level: ImageOps.solarize(image, 256 - round(256 * abs(level))),
    "color": lambda image, level: ImageEnhance.Color(image).enhance(1 + 0.9 * level),
    "contrast": lambda image, level: ImageEnhance.Contrast(image).enhance(1 + 0.9 * level),
    "brightness": lambda image, level: ImageEnhance.Brightness(image).enhance(1 + 0.9 * level),
    "sharpness": lambda image, level: ImageEnhance.Sharpness(image).enhance(1 + 0.9 * level),
    "rotate": lambda image, level: image.rotate(30 * level, Image.Resampling.BILINEAR, fillcolor=FILL),
    "shear_x": lambda image, level: _affine(image, 1, 0.3 * level, 0, 0, 1, 0),
    "shear_y": lambda image, level: _affine(image, 1, 0, 0, 0.3 * level, 1, 0),
    "shift_x": lambda image, level: _shift(image, 0.45 * level, 0),
    "shift_y": lambda image, level: _shift(image, 0, 0.45 * level),
}
_OPERATION_LIST = tuple(OPERATIONS.values())


def draw_operations(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.int32]:
    """Draw operations: n // 2 is the position in `OPERATIONS`; an odd n negates the level."""
    return random.integers(0, 2 * len(_OPERATION_LIST), shape, dtype=np.int32)


def augment(images: NDArray[np.uint8], operations: NDArray[np.int32], magnitude: float) -> NDArray[np.uint8]:
    """Apply RandAugment to each picture (Cubuk et al. 2020, algorithm of section 3).

    Args:
        images: uint8 (n, side, side, 3).
        operations: int32 (n, k), from `draw_operations`.
        magnitude: 0 to `MAX_MAGNITUDE`, the same for all operations.

    Returns:
        uint8 of the same shape.
    """
    result = np.empty_like(images)
    for row, numbers in enumerate(operations):
        image = Image.fromarray(images[row])
        for number in numbers:
            level = magnitude / MAX_MAGNITUDE * (-1 if number % 2 else 1)
            image = _OPERATION_LIST[number // 2](image, level)
        result[row] = np.asarray(image)
    return result
