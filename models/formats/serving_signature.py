"""A model as a TensorFlow module that servers load: encoded pictures in, labels with probabilities out."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import tensorflow as tf

from lake.pictures import pixels
from models.pictures.inputs import kept_side

EXIF_BYTES = 65_536  # a segment of a JPEG is no longer; phones write EXIF first
EXIF = b"Exif\x00\x00"
ORIENTATION = 0x0112  # the tag, CIPA DC-008 (Exif 2.32)


class Served(tf.Module):
    """Signatures of a model.

    `serve` takes encoded JPEG or PNG pictures, string (n,), and prepares them as the hub does; `pixels` takes
    prepared ones, float (n, side, side, 3), RGB 0–255.

    Args:
        model: from pixels to probabilities, or to embeddings.
        labels: names in the order of the probabilities; none where the model answers embeddings.
    """

    def __init__(self, model: Any, labels: Sequence[str]) -> None:
        super().__init__()
        self._labels, self._side = tuple(labels), int(model.input.shape[1])
        # The SavedModel keeps the variables. Of the model itself, were it an attribute, every layer would be
        # looked at, which takes longer than to write it; and nothing here is for AutoGraph to rewrite.
        self._answer = partial(model, training=False)
        self.values = [variable.value for variable in model.variables]
        shape = (None, self._side, self._side, 3)
        self.pixels = traced(self._pixels, tf.TensorSpec(shape, tf.float32, name="rgb"))

    def save(self, folder: Path) -> None:
        """Write the SavedModel. Only here `serve` is traced: who does not write it need not pay for it."""
        self.serve = traced(self._serve, tf.TensorSpec((None,), tf.string, name="images"))
        tf.saved_model.save(self, str(folder), {"serving_default": self.serve, "pixels": self.pixels})

    def _pixels(self, rgb: Any) -> dict[str, Any]:
        name = "probabilities" if self._labels else "embeddings"
        return {name: self._answer(rgb)}

    def _serve(self, images: Any) -> dict[str, Any]:
        shape = tf.TensorSpec((self._side, self._side, 3), tf.float32)
        rgb = tf.map_fn(lambda content: prepared(content, self._side), images, fn_output_signature=shape)
        answered = self.pixels(rgb)
        if not self._labels:
            return answered
        order = tf.argsort(answered["probabilities"], direction="DESCENDING", stable=True)
        return {
            "labels": tf.gather(tf.constant(self._labels), order),
            "probabilities": tf.gather(answered["probabilities"], order, batch_dims=1),
        }


def traced(function: Any, argument: Any) -> Any:
    """A concrete function: `tf.saved_model.save` would trace what is not concrete once more."""
    return tf.function(function, autograph=False, input_signature=[argument]).get_concrete_function()


def prepared(content: Any, side: int) -> Any:
    """The pixels that a model sees of an encoded picture, as `inputs.square` has them.

    A JPEG is decoded at full scale here and at a reduced one there, so pixels may differ by a rounding.

    Args:
        content: string (), JPEG or PNG.
        side: of the model's input (pixels).

    Returns:
        float32 (side, side, 3), RGB 0–255.
    """
    rgb = tf.cond(tf.io.is_jpeg(content), lambda: _jpeg(content), lambda: _png(content))
    kept = kept_side(side)
    scale = kept / tf.reduce_min(tf.cast(tf.shape(rgb)[:2], tf.float64))
    rgb = tf.cond(scale > 1, lambda: _without_far_ends(rgb), lambda: rgb)
    size = tf.cast(tf.shape(rgb)[:2], tf.float64)
    target = tf.maximum(tf.cast(tf.round(size * scale), tf.int32), kept)
    rgb = tf.cond(
        scale < 1,
        lambda: tf.image.resize(rgb, target, method="area"),
        lambda: tf.image.resize(rgb, target, method="bilinear"),
    )
    corner = (target - kept) // 2 + (kept - side) // 2
    return tf.round(tf.image.crop_to_bounding_box(rgb, corner[0], corner[1], side, side))


def _without_far_ends(rgb: Any) -> Any:
    """As of `lake.pictures.pixels`: what is enlarged is no longer than that."""
    size = tf.shape(rgb)[:2]
    ends = tf.maximum(size - pixels.LONG * tf.reduce_min(size), 0) // 2
    return rgb[ends[0] : size[0] - ends[0], ends[1] : size[1] - ends[1]]


def _jpeg(content: Any) -> Any:
    rgb = tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")
    return tf.cast(_upright(rgb, orientation(content)), tf.float32)


def _png(content: Any) -> Any:
    """What is transparent lies on white."""
    rgba = tf.cast(tf.io.decode_png(content, channels=4), tf.float32)
    opaque = rgba[..., 3:] / 255
    return tf.round(rgba[..., :3] * opaque + 255 * (1 - opaque))


def orientation(content: Any) -> Any:
    """The EXIF orientation of a JPEG, int32 (), 1 to 8; 1 where it says none."""
    data = tf.cast(tf.io.decode_raw(tf.strings.substr(content, 0, EXIF_BYTES), tf.uint8), tf.int32)
    data = tf.concat([data, tf.zeros(len(EXIF), tf.int32)], 0)
    windows = [data[at : tf.shape(data)[0] - len(EXIF) + at] for at in range(len(EXIF))]
    found = tf.where(tf.reduce_all([part == byte for part, byte in zip(windows, EXIF, strict=True)], 0))
    return tf.cond(tf.size(found) > 0, lambda: _of_exif(data, tf.cast(found[0, 0], tf.int32)), lambda: 1)


def _of_exif(data: Any, start: Any) -> Any:
    """Look the tag up in the first directory of a TIFF header that begins behind `EXIF` at `start`."""
    tiff = start + len(EXIF)
    little = data[tf.minimum(tiff, tf.shape(data)[0] - 1)] == ord("I")

    def number(at: Any, size: int) -> Any:
        places = tf.range(size) if size > 1 else tf.zeros(1, tf.int32)
        weights = tf.where(little, 256**places, 256 ** (size - 1 - places))
        # A damaged block may point anywhere.
        where = tf.clip_by_value(at[..., None] + places, 0, tf.shape(data)[0] - 1)
        return tf.reduce_sum(tf.gather(data, where) * weights, -1)

    directory = tiff + number(tiff + 4, 4)
    entries = directory + 2 + 12 * tf.range(tf.minimum(number(directory, 2), 64))
    values = tf.boolean_mask(number(entries + 8, 2), number(entries, 2) == ORIENTATION)
    value = tf.cond(tf.size(values) > 0, lambda: values[0], lambda: 1)
    return tf.where((value >= 1) & (value <= 8), value, 1)


def _upright(rgb: Any, value: Any) -> Any:
    """Turn pixels as `lake.pictures.pixels.oriented` does."""

    def among(*values: int) -> Any:
        return tf.reduce_any(value == tf.constant(values))

    rgb = tf.cond(among(5, 6, 7, 8), lambda: tf.transpose(rgb, (1, 0, 2)), lambda: rgb)
    rgb = tf.cond(among(2, 3, 6, 7), lambda: rgb[:, ::-1], lambda: rgb)
    return tf.cond(among(3, 4, 7, 8), lambda: rgb[::-1], lambda: rgb)
