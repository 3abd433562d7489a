"""RandAugment: a few operations, drawn from a fixed list, all at one strength. Pixels in, pixels out."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

GREATEST = 10.0  # magnitude at which an operation is at its strongest
FILL = (128, 128, 128)  # where a moved picture leaves nothing

Operation = Callable[[Image.Image, float], Image.Image]


def _moved(image: Image.Image, *matrix: float) -> Image.Image:
    """The picture through an affine map about its centre: output (x, y) shows input (ax + by + c, …)."""
    a, b, c, d, e, f = matrix
    x, y = (image.width - 1) / 2, (image.height - 1) / 2
    # Pillow's coordinates are of pixel corners; half a pixel on either side cancels for shears and shifts.
    centred = (a, b, c + x - a * x - b * y, d, e, f + y - d * x - e * y)
    return image.transform(
        image.size, Image.Transform.AFFINE, centred, Image.Resampling.BILINEAR, fillcolor=FILL
    )


def _shifted(image: Image.Image, x: float, y: float) -> Image.Image:
    return _moved(image, 1, 0, -round(x * image.width), 0, 1, -round(y * image.height))


# What each does at a level from -1 to 1; the ranges are those of Cubuk et al. 2019 ("AutoAugment"), table 6.
# None of them mirrors: whether a picture may be mirrored is the dataset's to say.
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
    "shear_x": lambda image, level: _moved(image, 1, 0.3 * level, 0, 0, 1, 0),
    "shear_y": lambda image, level: _moved(image, 1, 0, 0, 0.3 * level, 1, 0),
    "shift_x": lambda image, level: _shifted(image, 0.45 * level, 0),
    "shift_y": lambda image, level: _shifted(image, 0, 0.45 * level),
}
_LISTED = tuple(OPERATIONS.values())


def draw(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.int32]:
    """Operations and their directions: even numbers forwards, odd ones backwards, halves are positions."""
    return random.integers(0, 2 * len(_LISTED), shape, dtype=np.int32)


def augmented(images: NDArray[np.uint8], drawn: NDArray[np.int32], magnitude: float) -> NDArray[np.uint8]:
    """RandAugment (Cubuk et al. 2020, algorithm of section 3).

    Args:
        images: uint8 (n, side, side, 3).
        drawn: int32 (n, operations), from `draw`.
        magnitude: 0 to `GREATEST`, the same for all operations.

    Returns:
        uint8 of the same shape.
    """
    result = np.empty_like(images)
    for at, numbers in enumerate(drawn):
        image = Image.fromarray(images[at])
        for number in numbers:
            level = magnitude / GREATEST * (-1 if number % 2 else 1)
            image = _LISTED[number // 2](image, level)
        result[at] = np.asarray(image)
    return result
