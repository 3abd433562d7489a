"""Heads of models: what turns the features of `avg_pool` into logits or embeddings."""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

Tensor = Any  # a keras.KerasTensor, for which Keras ships no types
Model = Any  # a keras.Model, likewise
Head = Callable[[Tensor], Tensor]

HEADS = ("logits", "embedding", "unit")  # layers that are not part of the feature extractor


def logits(classes: int) -> Head:
    """A head that returns logits (batch, classes), in float32 under every precision."""
    return layers.Dense(classes, name="logits")


def embedding(size: int) -> Head:
    """A head that returns vectors (batch, size) of length 1 (Schroff et al. 2015, figure 2)."""
    dense, unit = layers.Dense(size, name="embedding"), layers.UnitNormalization(name="unit")
    return lambda x: unit(dense(x))


def feature_extractor(model: Model) -> Model:
    """The model without its head, sharing its variables: RGB 0–255 to (batch, channels)."""
    return keras.Model(model.input, model.get_layer("avg_pool").output)


def with_softmax(model: Any) -> Any:
    """Wrap a model that outputs logits so that it outputs probabilities; it shares layers and variables."""
    probabilities = layers.Softmax(name="probabilities")(model.output)
    return keras.Model(model.input, probabilities, name=model.name)
