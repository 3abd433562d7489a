"""A hand-made colour classifier that needs no training: the label is the channel with the largest mean."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from conf.settings import Settings
from models.formats.export import KERAS
from models.registry import model_cards
from models.registry.model_cards import ModelCard
from tests.support import pictures
from tests.support.media import heif

COLOURS = {"blue": (20, 30, 220), "green": (30, 220, 20), "red": (220, 20, 30)}


def model(settings: Settings, model_id: str, **card: Any) -> str:
    """Write the model and its model card; returns its id.

    Args:
        card: fields of the model card that differ from the default.
    """
    import keras

    pixels = keras.Input((32, 32, 3))
    means = keras.layers.GlobalAveragePooling2D()(pixels)
    dense = keras.layers.Dense(3, activation="softmax")
    made = keras.Model(pixels, dense(means))
    # RGB in, (blue, green, red) out.
    dense.set_weights([np.eye(3, dtype=np.float32)[::-1] / 32, np.zeros(3, np.float32)])
    local = Path(settings.lake.at("artifacts", model_id))
    local.mkdir(parents=True, exist_ok=True)
    made.save(local / KERAS)
    fields: dict[str, Any] = {
        "dataset_id": "none",
        "architecture": "by-hand",
        "side": 32,
        "labels": tuple(COLOURS),
    } | card
    model_cards.write_card(settings, ModelCard(model_id=model_id, **fields))
    return model_id


def picture(name: str, ending: str = ".jpg") -> bytes:
    """A picture of one colour, in the format of an ending; a HEIC if there is none."""
    plain = np.full((40, 40, 3), COLOURS[name], np.uint8)
    if ending in {".heic", ""}:
        return heif.still(plain)
    if ending == ".mpo":
        image = Image.fromarray(plain)
        return pictures.encoded(image, "MPO", save_all=True, append_images=[Image.new("RGB", (40, 40))])
    return cv2.imencode(ending, plain[:, :, ::-1])[1].tobytes()


def jpeg(name: str) -> bytes:
    """A JPEG of one colour."""
    return picture(name)
