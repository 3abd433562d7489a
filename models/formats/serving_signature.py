"""SavedModel signatures for serving: encoded pictures in, labels with probabilities out."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import tensorflow as tf

from lake.pictures import pixels
from models.pictures.inputs import resized_side

EXIF_BYTES = 65_536  # greatest length of a JPEG segment; phones write EXIF first
EXIF = b"Exif\x00\x00"
ORIENTATION = 0x0112  # number of the tag (CIPA DC-008, Exif 2.32)


class ServingModule(tf.Module):
    """TensorFlow module with the serving signatures of a model.

    `serve` takes encoded JPEG or PNG pictures, string (n,), and prepares them as the hub does. `pixels` takes
    prepared pictures, float (n, side, side, 3), RGB 0–255.

    Args:
        model: from pixels to probabilities, or to embeddings.
        labels: names in the order of the probabilities; empty for an embedding model.
    """

    def __init__(self, model: Any, labels: Sequence[str]) -> None:
        super().__init__()
        self._labels, self._side = tuple(labels), int(model.input.shape[1])
        # The partial hides the model from TensorFlow's tracking, which would visit every layer: slow.
        # The variables are tracked through `values`.
        self._predict = partial(model, training=False)
        self.values = [variable.value for variable in model.variables]
        shape = (None, self._side, self._side, 3)
        self.pixels = trace(self._pixels, tf.TensorSpec(shape, tf.float32, name="rgb"))

    def save(self, folder: Path) -> None:
        """Write the SavedModel. `serve` is traced only here, as tracing it is slow."""
        self.serve = trace(self._serve, tf.TensorSpec((None,), tf.string, name="images"))
        tf.saved_model.save(self, str(folder), {"serving_default": self.serve, "pixels": self.pixels})

    def _pixels(self, rgb: Any) -> dict[str, Any]:
        name = "probabilities" if self._labels else "embeddings"
        return {name: self._predict(rgb)}

    def _serve(self, images: Any) -> dict[str, Any]:
        shape = tf.TensorSpec((self._side, self._side, 3), tf.float32)
        rgb = tf.map_fn(
            lambda content: prepare_picture(content, self._side), images, fn_output_signature=shape
        )
        outputs = self.pixels(rgb)
        if not self._labels:
            return outputs
        order = tf.argsort(outputs["probabilities"], direction="DESCENDING", stable=True)
        return {
            "labels": tf.gather(tf.constant(self._labels), order),
            "probabilities": tf.gather(outputs["probabilities"], order, batch_dims=1),
        }


def trace(function: Any, argument: Any) -> Any:
    """Trace into a concrete function, so that `tf.saved_model.save` does not trace it again."""
    return tf.function(function, autograph=False, input_signature=[argument]).get_concrete_function()


def prepare_picture(content: Any, side: int) -> Any:
    """Decode a picture into the input of a model: `inputs.decode_centre_crop` in TensorFlow operations.

    Here a JPEG is decoded at full scale, there at a reduced one, so pixels may differ slightly.

    Args:
        content: string (), JPEG or PNG.
        side: of the model's input (pixels).

    Returns:
        float32 (side, side, 3), RGB 0–255.
    """
    rgb = tf.cond(tf.io.is_jpeg(content), lambda: _jpeg(content), lambda: _png(content))
    resized = resized_side(side)
    scale = resized / tf.reduce_min(tf.cast(tf.shape(rgb)[:2], tf.float64))
    rgb = tf.cond(scale > 1, lambda: _trim_long_side(rgb), lambda: rgb)
    size = tf.cast(tf.shape(rgb)[:2], tf.float64)
    target = tf.maximum(tf.cast(tf.round(size * scale), tf.int32), resized)
    rgb = tf.cond(
        scale < 1,
        lambda: tf.image.resize(rgb, target, method="area"),
        lambda: tf.image.resize(rgb, target, method="bilinear"),
    )
    corner = (target - resized) // 2 + (resized - side) // 2
    return tf.round(tf.image.crop_to_bounding_box(rgb, corner[0], corner[1], side, side))


def _trim_long_side(rgb: Any) -> Any:
    """Crop the long side to `LONG` times the short one before enlarging, as in `lake.pictures.pixels`."""
    size = tf.shape(rgb)[:2]
    excess = tf.maximum(size - pixels.MAX_ASPECT * tf.reduce_min(size), 0) // 2
    return rgb[excess[0] : size[0] - excess[0], excess[1] : size[1] - excess[1]]


def _jpeg(content: Any) -> Any:
    rgb = tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")
    return tf.cast(_upright(rgb, exif_orientation(content)), tf.float32)


def _png(content: Any) -> Any:
    """Decode a PNG; transparent pixels are blended with white."""
    rgba = tf.cast(tf.io.decode_png(content, channels=4), tf.float32)
    opaque = rgba[..., 3:] / 255
    return tf.round(rgba[..., :3] * opaque + 255 * (1 - opaque))


def exif_orientation(content: Any) -> Any:
    """The EXIF orientation of a JPEG, int32 (), 1 to 8; 1 if it has none."""
    data = tf.cast(tf.io.decode_raw(tf.strings.substr(content, 0, EXIF_BYTES), tf.uint8), tf.int32)
    data = tf.concat([data, tf.zeros(len(EXIF), tf.int32)], 0)
    windows = [data[at : tf.shape(data)[0] - len(EXIF) + at] for at in range(len(EXIF))]
    matches = tf.where(tf.reduce_all([window == byte for window, byte in zip(windows, EXIF, strict=True)], 0))
    return tf.cond(
        tf.size(matches) > 0, lambda: _orientation_tag(data, tf.cast(matches[0, 0], tf.int32)), lambda: 1
    )


def _orientation_tag(data: Any, start: Any) -> Any:
    """The orientation tag in the first directory of the TIFF header that follows `EXIF` at `start`."""
    tiff = start + len(EXIF)
    little = data[tf.minimum(tiff, tf.shape(data)[0] - 1)] == ord("I")

    def number(at: Any, size: int) -> Any:
        digits = tf.range(size) if size > 1 else tf.zeros(1, tf.int32)
        weights = tf.where(little, 256**digits, 256 ** (size - 1 - digits))
        # A damaged block may point outside the data.
        positions = tf.clip_by_value(at[..., None] + digits, 0, tf.shape(data)[0] - 1)
        return tf.reduce_sum(tf.gather(data, positions) * weights, -1)

    directory = tiff + number(tiff + 4, 4)
    entries = directory + 2 + 12 * tf.range(tf.minimum(number(directory, 2), 64))
    values = tf.boolean_mask(number(entries + 8, 2), number(entries, 2) == ORIENTATION)
    value = tf.cond(tf.size(values) > 0, lambda: values[0], lambda: 1)
    return tf.where((value >= 1) & (value <= 8), value, 1)


def _upright(rgb: Any, value: Any) -> Any:
    """Apply an EXIF orientation, as `lake.pictures.pixels.apply_orientation` does."""

    def is_one_of(*values: int) -> Any:
        return tf.reduce_any(value == tf.constant(values))

    rgb = tf.cond(is_one_of(5, 6, 7, 8), lambda: tf.transpose(rgb, (1, 0, 2)), lambda: rgb)
    rgb = tf.cond(is_one_of(2, 3, 6, 7), lambda: rgb[:, ::-1], lambda: rgb)
    return tf.cond(is_one_of(3, 4, 7, 8), lambda: rgb[::-1], lambda: rgb)
