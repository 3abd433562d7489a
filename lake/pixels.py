"""Decoding and resizing, the same for uploads, training and prediction. No Spark, no TensorFlow."""

import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

RGB = NDArray[np.uint8]

cv2.setNumThreads(1)  # one Spark task or training worker is one core; OpenCV's own threads would fight for it


def decode(data: bytes, longest_side: int) -> RGB:
    """Decode at the smallest scale the format offers that still has `longest_side`, and turn upright.

    Args:
        data: an encoded picture.
        longest_side: pixels the result's longest side needs; a JPEG may come back at 1/2, 1/4 or 1/8.

    Returns:
        uint8 (height, width, 3), RGB.

    Raises:
        OSError: what Pillow says of data it cannot decode.
    """
    with Image.open(io.BytesIO(data)) as image:
        return upright(image, longest_side)


def upright(image: Image.Image, longest_side: int) -> RGB:
    """The pixels of an opened picture: reduced scale, EXIF orientation applied, alpha laid on white.

    Returns:
        uint8 (height, width, 3), RGB.
    """
    if image.format == "JPEG":
        image.draft("RGB", (longest_side, longest_side))
    image.load()
    turned = ImageOps.exif_transpose(image)
    if turned.mode in ("I;16", "I;16B", "I;16L", "I"):
        # Pillow clips 16-bit grey when it converts; the high byte is the picture.
        turned = Image.fromarray((np.asarray(turned, dtype=np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    if turned.has_transparency_data:
        turned = turned.convert("RGBA")
        ground = Image.new("RGBA", turned.size, "white")
        turned = Image.alpha_composite(ground, turned)
    return np.asarray(turned.convert("RGB"))


def fit(rgb: RGB, longest_side: int) -> RGB:
    """Shrink so that the longest side has at most `longest_side` pixels; never enlarges.

    Returns:
        uint8 (height, width, 3), same aspect ratio.
    """
    height, width = rgb.shape[:2]
    scale = longest_side / max(height, width)
    if scale >= 1:
        return rgb
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)


def square(rgb: RGB, side: int) -> RGB:
    """The centre of the picture as a square: shortest side scaled to `side`, the rest cut off.

    Returns:
        uint8 (side, side, 3).
    """
    height, width = rgb.shape[:2]
    scale = side / min(height, width)
    size = max(side, round(width * scale)), max(side, round(height * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled = cv2.resize(rgb, size, interpolation=method) if (width, height) != size else rgb
    top, left = (scaled.shape[0] - side) // 2, (scaled.shape[1] - side) // 2
    return scaled[top : top + side, left : left + side]


def jpeg(rgb: RGB, quality: int) -> bytes:
    """Encode as baseline JPEG without any metadata."""
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    done, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise OSError(f"OpenCV could not encode a picture of shape {rgb.shape}")
    return encoded.tobytes()
