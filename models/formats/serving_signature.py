"""SavedModel signatures for serving: encoded pictures in, labels with probabilities out."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import tensorflow as tf

from lake.pictures import pixels
from models.formats import picture_operations
from models.pictures.inputs import resized_side


class ServingModule(tf.Module):
    """TensorFlow module with the serving signatures of a model.

    `serve` takes encoded JPEG, PNG or WebP pictures, string (n,), and prepares them as the hub does. `pixels`
    takes prepared pictures, float (n, side, side, 3), RGB 0–255.

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
            lambda each: prepare_picture(each[0], self._side, each[1]),
            (images, tf.range(tf.size(images))),
            fn_output_signature=shape,
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


def prepare_picture(content: Any, side: int, position: Any = 0) -> Any:
    """Decode a picture into the input of a model: `inputs.decode_centre_crop` in TensorFlow operations.

    Here a JPEG is decoded at full scale, there at a reduced one, so pixels may differ slightly.

    Args:
        content: string (), JPEG, PNG or WebP.
        side: of the model's input (pixels).
        position: of the picture in its batch, for errors.

    Returns:
        float32 (side, side, 3), RGB 0–255.
    """
    rgb = picture_operations.decode(content, position)
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
