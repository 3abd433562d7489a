"""The input of every model: RGB 0–255, scaled as the architecture's weights expect it."""

from typing import Any

import keras
from keras import layers

from conf.choices import Pixels
from models.architectures import SCALINGS


def rgb_input(side: int, pixels: Pixels) -> tuple[Any, Any]:
    """Make the input and scale it.

    Returns:
        the Keras input (batch, side, side, 3), and the scaled tensor of the same shape.
    """
    inputs = keras.Input((side, side, 3), name="rgb")
    scaling = SCALINGS[pixels]
    x = keras.ops.flip(inputs, -1) if scaling.bgr else inputs
    return inputs, layers.Rescaling(scaling.factor, offset=scaling.offset, name=scaling.layer)(x)


def scaling_of(model: Any) -> Pixels:
    """How a loaded model scales pixels, by the names of its layers; UNIT where no layer says so."""
    names = {layer.name for layer in model.layers}
    return next((pixels for pixels, scaling in SCALINGS.items() if scaling.layer in names), Pixels.UNIT)
