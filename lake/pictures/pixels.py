"""Decoding and resizing, the same for uploads, training and prediction. No Spark, no TensorFlow."""

import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile

RGB = NDArray[np.uint8]

_MANY = 16  # pixels that become one
LONG = 4  # times its shortest side, of what is enlarged at most
_GRAY_BITS = {"L;2": 2, "L;4": 4}  # of a sample, by Pillow's name for the layout of the file

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
        return oriented(pixels(image, longest_side), orientation(exif(image)))


def pixels(image: ImageFile.ImageFile, longest_side: int) -> RGB:
    """The pixels of an opened picture: reduced scale, alpha laid on white, orientation as stored.

    Returns:
        uint8 (height, width, 3), RGB.
    """
    if image.format == "JPEG":
        image.draft("RGB", (longest_side, longest_side))
    _scale_clear_colour(image)
    image.load()
    if image.mode.startswith("I"):
        # Pillow clips 16-bit grey when it converts; the high byte is the picture.
        values = np.asarray(image, dtype=np.uint32)
        high = (values >> 8).clip(0, 255).astype(np.uint8)
        high[values == image.info.get("transparency", -1)] = 255
        return cv2.cvtColor(high, cv2.COLOR_GRAY2RGB)
    if image.has_transparency_data:
        rgba = _on_white(image if image.mode == "RGBA" else image.convert("RGBA"), longest_side)
        return np.asarray(rgba.convert("RGB"))
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _scale_clear_colour(image: ImageFile.ImageFile) -> None:
    """Make the clear colour of a PNG that is not loaded yet one of 8 bits, as its samples will be.

    Pillow keeps it as the file states it (ISO/IEC 15948, section 11.3.2.1) and compares the low byte.
    """
    clear = image.info.get("transparency")
    if clear is None or not image.tile:
        return
    layout = image.tile[0].args
    if layout in _GRAY_BITS:
        most = 2 ** _GRAY_BITS[layout] - 1
        image.info["transparency"] = (clear & most) * 255 // most
    elif layout == "RGB;16B":
        # The low bytes of the samples are gone by then: every colour of the same high bytes is clear, too.
        image.info["transparency"] = tuple(value >> 8 for value in clear)


def _on_white(image: Image.Image, longest_side: int) -> Image.Image:
    # Shrunk first: laid on white at full size, a screenshot of 64 MP would take 1.4 GB.
    factor = max(image.size) // longest_side
    if factor > 1:
        image = image.reduce(factor)
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def exif(image: Image.Image) -> Image.Exif | None:
    """The EXIF of an opened picture; None where there is none or it cannot be read."""
    if "exif" not in image.info and "Raw profile type exif" not in image.info:
        return None
    try:
        return image.getexif()
    except Exception:  # Pillow raises whatever the damaged block leads it to; the picture itself is fine
        return None


def orientation(exif: Image.Exif | None) -> int:
    """EXIF orientation, 1 to 8; 1 (upright) where there is none or EXIF cannot be read."""
    try:
        value = exif.get(ExifTags.Base.Orientation, 1) if exif is not None else 1
    except Exception:  # as above: a block may be damaged only where it is looked at
        return 1
    return value if value in range(1, 9) else 1


def oriented(rgb: RGB, value: int) -> RGB:
    """Turn pixels upright by their EXIF orientation.

    Source: CIPA DC-008 (Exif 2.32), tag 0x0112.

    Args:
        value: 1 to 8; even values are mirrored, 5 to 8 lie on their side.
    """
    if value in (5, 6, 7, 8):
        rgb = cv2.transpose(rgb)
    codes = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}
    return cv2.flip(rgb, codes[value]) if value in codes else rgb


def fit(rgb: RGB, longest_side: int) -> RGB:
    """Shrink so that the longest side has at most `longest_side` pixels; never enlarges.

    Returns:
        uint8 (height, width, 3), same aspect ratio.
    """
    height, width = rgb.shape[:2]
    scale = longest_side / max(height, width)
    if scale >= 1:
        return rgb
    return _shrunk(rgb, max(1, round(width * scale)), max(1, round(height * scale)))


def _shrunk(rgb: RGB, width: int, height: int) -> RGB:
    """Each pixel the mean of the area it covers.

    OpenCV's mean over areas that are not whole pixels has no vector code. By way of the nearest size of which
    the result is a whole part it takes a third of the time, and differs by half a level (50 dB).
    """
    across, down = max(2, rgb.shape[1] // width), max(2, rgb.shape[0] // height)
    if across * down < _MANY:  # of larger areas the ragged edge is the smaller part
        rgb = cv2.resize(rgb, (width * across, height * down), interpolation=cv2.INTER_LINEAR)
    return cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)


def square(rgb: RGB, side: int) -> RGB:
    """The centre of the picture as a square: shortest side scaled to `side`, the rest cut off.

    Of a picture that is enlarged the far ends go before: else 20,000 pixels in one line would become 3.8 GB.

    Returns:
        uint8 (side, side, 3).
    """
    scale = side / min(rgb.shape[:2])
    if scale > 1:
        rgb = _without_far_ends(rgb)
    height, width = rgb.shape[:2]
    size = max(side, round(width * scale)), max(side, round(height * scale))
    if (width, height) == size:
        scaled = rgb
    elif scale < 1:
        scaled = _shrunk(rgb, *size)
    else:
        scaled = cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR)
    top, left = (scaled.shape[0] - side) // 2, (scaled.shape[1] - side) // 2
    return scaled[top : top + side, left : left + side]


def _without_far_ends(rgb: RGB) -> RGB:
    """At most about `LONG` times as long as wide, around the same centre.

    What is enlarged from it may lie half a pixel of the result beside what it were from the whole.
    """
    long, most = max(rgb.shape[:2]), LONG * min(rgb.shape[:2])
    if long <= most:
        return rgb
    end = (long - most) // 2
    return rgb[end : long - end, :] if rgb.shape[0] == long else rgb[:, end : long - end]


def jpeg(rgb: RGB, quality: int) -> bytes:
    """Encode as baseline JPEG without any metadata."""
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    done, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise OSError(f"OpenCV could not encode a picture of shape {rgb.shape}")
    return encoded.tobytes()
