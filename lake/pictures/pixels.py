"""Pixel decoding and resizing, shared by uploads, training and prediction. No Spark, no TensorFlow."""

import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from lake.errors import UndecodablePicture
from lake.pictures import formats
from lake.pictures.opening import open_picture
from lake.pictures.orientation import orientation_of, turn_upright

RGB = NDArray[np.uint8]

MAX_PIXELS = 178_956_970  # of a picture that `decode` takes, as Pillow's own limit

_LARGE_AREA = 16  # source pixels per result pixel, from which partial pixels at the edge cost little
MAX_ASPECT = 4  # longest side over shortest side, of pictures that are enlarged
_GRAY_BITS = {"L;2": 2, "L;4": 4}  # bits per sample, by Pillow's name for the pixel layout of the file

cv2.setNumThreads(1)  # one Spark task or training worker has one core; OpenCV's threads would compete for it


def decode(data: bytes, longest_side: int) -> RGB:
    """Decode at the format's smallest scale whose longest side has `longest_side` pixels; turn upright.

    Args:
        data: an encoded picture: of a format of the hub, or of another that Pillow knows.
        longest_side: pixels that the result's longest side needs; a JPEG may be decoded at 1/2, 1/4 or 1/8.

    Returns:
        uint8 (height, width, 3), RGB.

    Raises:
        UndecodablePicture: it is not decoded, and why; TooManyPixels: it has more than `MAX_PIXELS`.
        OSError: Pillow cannot decode the data.
    """
    kind = formats.detect(data)
    if kind is None:
        try:
            with Image.open(io.BytesIO(data)) as image:
                return load_rgb(image, longest_side)
        except UnidentifiedImageError:  # its message is a memory address
            name = formats.name_of(data)
            raise UndecodablePicture(f"it is {name}, no picture" if name else "unknown format") from None
    with open_picture(data, kind, MAX_PIXELS) as image:
        rgb = load_rgb(image, longest_side)
    return turn_upright(rgb, orientation_of(data, kind))


def load_rgb(image: ImageFile.ImageFile, longest_side: int) -> RGB:
    """Load the pixels of an opened picture: reduced scale, alpha on white, orientation as stored.

    Returns:
        uint8 (height, width, 3), RGB.
    """
    if image.format == "JPEG":
        image.draft("RGB", (longest_side, longest_side))
    _scale_transparent_colour(image)
    image.load()
    if image.mode.startswith("I"):
        # Pillow's conversion would clip 16-bit grey values to 255; use their high bytes instead.
        values = np.asarray(image, dtype=np.uint32)
        high = (values >> 8).clip(0, 255).astype(np.uint8)
        high[values == image.info.get("transparency", -1)] = 255
        return cv2.cvtColor(high, cv2.COLOR_GRAY2RGB)
    if image.has_transparency_data:
        opaque = image.convert("LA") if image.mode == "La" else image  # premultiplied grey
        rgba = _on_white(opaque if image.mode == "RGBA" else opaque.convert("RGBA"), longest_side)
        return np.asarray(rgba.convert("RGB"))
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _scale_transparent_colour(image: ImageFile.ImageFile) -> None:
    """Scale the transparent colour (tRNS) of a PNG to 8 bits, as Pillow will scale its samples on loading.

    Pillow keeps the file's value (ISO/IEC 15948, section 11.3.2.1) and compares its low byte.
    """
    transparent = image.info.get("transparency")
    if transparent is None or not image.tile:
        return
    layout = image.tile[0].args
    if layout in _GRAY_BITS:
        maximum = 2 ** _GRAY_BITS[layout] - 1
        image.info["transparency"] = (transparent & maximum) * 255 // maximum
    elif layout == "RGB;16B":
        # Loading drops the samples' low bytes, so all colours with the same high bytes become transparent.
        image.info["transparency"] = tuple(value >> 8 for value in transparent)


def _on_white(image: Image.Image, longest_side: int) -> Image.Image:
    # Reduced first: at full size, a screenshot of 64 megapixels would take 1.4 GB.
    factor = max(image.size) // longest_side
    if factor > 1:
        image = image.reduce(factor)
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def fit(rgb: RGB, longest_side: int) -> RGB:
    """Shrink so that the longest side has at most `longest_side` pixels; never enlarges.

    Returns:
        uint8 (height, width, 3), same aspect ratio.
    """
    height, width = rgb.shape[:2]
    scale = longest_side / max(height, width)
    if scale >= 1:
        return rgb
    return _shrink(rgb, max(1, round(width * scale)), max(1, round(height * scale)))


def _shrink(rgb: RGB, width: int, height: int) -> RGB:
    """Area interpolation: each result pixel is the mean of the area that it covers.

    OpenCV's area mean is not vectorised for areas that are not whole pixels. Resizing first to the nearest
    integer multiple of the result takes a third of the time, and differs by half a level (50 dB).
    """
    across, down = max(2, rgb.shape[1] // width), max(2, rgb.shape[0] // height)
    if across * down < _LARGE_AREA:
        rgb = cv2.resize(rgb, (width * across, height * down), interpolation=cv2.INTER_LINEAR)
    return cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)


def centre_square(rgb: RGB, side: int) -> RGB:
    """Resize the shortest side to `side` and crop the centre square.

    A picture that is enlarged is cropped before: else 20,000 pixels in one line would become 3.8 GB.

    Returns:
        uint8 (side, side, 3).
    """
    scale = side / min(rgb.shape[:2])
    if scale > 1:
        rgb = _crop_to_max_aspect(rgb)
    height, width = rgb.shape[:2]
    size = max(side, round(width * scale)), max(side, round(height * scale))
    if (width, height) == size:
        scaled = rgb
    elif scale < 1:
        scaled = _shrink(rgb, *size)
    else:
        scaled = cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR)
    top, left = (scaled.shape[0] - side) // 2, (scaled.shape[1] - side) // 2
    return scaled[top : top + side, left : left + side]


def _crop_to_max_aspect(rgb: RGB) -> RGB:
    """Crop the long side to about `MAX_ASPECT` times the short side, around the same centre.

    Enlarged, the result may be shifted by half a pixel against one from the whole picture.
    """
    longest, limit = max(rgb.shape[:2]), MAX_ASPECT * min(rgb.shape[:2])
    if longest <= limit:
        return rgb
    margin = (longest - limit) // 2
    vertical = rgb.shape[0] == longest
    return rgb[margin : longest - margin, :] if vertical else rgb[:, margin : longest - margin]


def encode_jpeg(rgb: RGB, quality: int) -> bytes:
    """Encode as baseline JPEG without metadata."""
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    done, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise OSError(f"OpenCV could not encode a picture of shape {rgb.shape}")
    return encoded.tobytes()
