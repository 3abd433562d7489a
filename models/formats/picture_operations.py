"""Decoding of pictures in TensorFlow operations, as `lake.pictures` does it: for the graph of a SavedModel.

TensorFlow decodes JPEG, PNG and WebP. It cannot decode HEIC and AVIF, so these are refused by name.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from models.formats.orientation_operations import exif_in_chunks, exif_in_segments, tag_of, turn_upright

# An Adobe segment: the channels of a CMYK picture are inverted. Files without it are inverted, too.
_ADOBE = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0"
_HEAD_BYTES = 32
_PNG_DEPTH, _WEBP_FLAGS = 24, 20  # where they are
_WEBP_HAS_EXIF, _WEBP_ANIMATED = 0x08, 0x02


def decode(content: Any, position: Any) -> Any:
    """Decode a picture, transparent pixels on white, and turn it upright.

    Args:
        content: string (), JPEG, PNG or WebP.
        position: of the picture in its batch, int32 (), for the error.

    Returns:
        float32 (height, width, 3), RGB 0–255.

    Raises:
        tf.errors.InvalidArgumentError: it is of another format, or damaged.
    """
    head = tf.strings.substr(tf.strings.join([content, bytes(_HEAD_BYTES)]), 0, _HEAD_BYTES)
    numbers = tf.cast(tf.io.decode_raw(head, tf.uint8), tf.int32)
    is_jpeg = tf.strings.substr(head, 0, 3) == b"\xff\xd8\xff"
    is_png = tf.strings.substr(head, 0, 4) == b"\x89PNG"
    is_webp = tf.strings.substr(head, 8, 4) == b"WEBP"
    flags = tf.where(is_webp & (tf.strings.substr(head, 12, 4) == b"VP8X"), numbers[_WEBP_FLAGS], 0)
    has_chunks = is_png | (flags & _WEBP_HAS_EXIF > 0)
    exif, is_inverted = tf.cond(
        is_jpeg,
        lambda: exif_in_segments(content),
        lambda: (exif_in_chunks(content, is_webp, has_chunks), False),
    )
    branches: list[tuple[Any, Callable[[], Any]]] = [
        (is_jpeg, lambda: _jpeg(content, is_inverted)),
        (is_png, lambda: _png(content, numbers[_PNG_DEPTH])),
        # TensorFlow's decoder of animations writes outside its memory.
        (is_webp & (flags & _WEBP_ANIMATED == 0), lambda: _webp(content)),
    ]
    rgb = tf.case(branches, default=lambda: _refuse(head, is_webp, position))
    return turn_upright(rgb, tag_of(exif))


def _refuse(head: Any, is_webp: Any, position: Any) -> Any:
    """Fail with a line that names the picture; the result is never used."""
    is_media = tf.strings.substr(head, 4, 4) == b"ftyp"
    name = tf.where(is_media, "HEIC, AVIF or a film", "of an unknown format")
    name = tf.where(is_webp, "an animated WebP", name)
    advice = ": this SavedModel decodes JPEG, PNG and WebP stills; `hub predict` decodes HEIC and AVIF, too"
    problem = tf.strings.join(["picture ", tf.strings.as_string(position), " of the batch is ", name, advice])
    with tf.control_dependencies([tf.debugging.Assert(False, [problem])]):
        return tf.zeros((1, 1, 3))


def _jpeg(content: Any, is_inverted: Any) -> Any:
    marked = tf.strings.join([tf.strings.substr(content, 0, 2), _ADOBE, tf.strings.substr(content, 2, -1)])
    content = tf.where(is_inverted, marked, content)
    return tf.cast(tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE"), tf.float32)


def _png(content: Any, depth: Any) -> Any:
    rgba = tf.io.decode_png(content, channels=4)
    # Where a PNG has no alpha, TensorFlow writes the largest sample of the file: 1, 3 or 15 below 8 bits.
    filler = tf.cast(tf.bitwise.left_shift(1, tf.minimum(depth, 8)) - 1, tf.uint8)
    return _on_white(rgba, tf.reduce_all(rgba[..., 3] == filler))


def _webp(content: Any) -> Any:
    """Decode a WebP. The number of its channels is known only when it is decoded."""
    pixels = tf.io.decode_webp(content)[0]
    return _on_white(pixels, tf.shape(pixels)[-1] == 3)


def _on_white(pixels: Any, is_opaque: Any) -> Any:
    pixels = tf.cast(pixels, tf.float32)
    rgb, alpha = pixels[..., :3], tf.where(is_opaque, 1.0, pixels[..., -1:] / 255)
    return tf.round(rgb * alpha + 255 * (1 - alpha))
