"""Classifiers that answer requests: the labels that a model sees in a picture."""

import time

import numpy as np
from numpy.typing import NDArray

from conf.settings import Settings
from models.pictures import inputs
from models.registry.model_cards import ModelCard
from web.inference.tflite_models import TfliteModels
from web.problems.problem import Problem

_KEPT_SECONDS = 2.0  # of the answer to which model is in use


class Classifiers:
    """Predicts with the model that is asked for, else with the one in use.

    Args:
        settings: of the hub.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._models = TfliteModels(settings, "labels", "outputs embeddings, not labels")
        self._default: tuple[float, str | None] = (0.0, None)

    def card(self, model_id: str | None) -> ModelCard:
        """The card of a classifier; see `predict`."""
        return self._models.load(model_id or self._default_id()).card

    def predict(self, jpeg: bytes, model_id: str | None) -> tuple[ModelCard, NDArray[np.float32]]:
        """Probabilities of a classifier's labels.

        Args:
            jpeg: a picture that the hub has encoded.
            model_id: None for the model in use, else the newest ready classifier.

        Returns:
            the model's card, and a probability for each of its labels, float32 (labels,).

        Raises:
            Problem: 404, there is no such model; 409, it cannot be used.
        """
        loaded = self._models.load(model_id or self._default_id())
        pixels = inputs.decode_centre_crop(jpeg, loaded.card.side)
        return loaded.card, self._models.run(loaded, pixels)

    def _default_id(self) -> str:
        """The model in use, else the newest ready classifier; looked up again every few moments."""
        asked, found = self._default
        if found is None or time.monotonic() - asked > _KEPT_SECONDS:
            found = self._find_default()
            self._default = time.monotonic(), found
        return found

    def _find_default(self) -> str:
        from models.inference import catalogue

        found = catalogue.in_use(self._settings) or next(iter(self._models.ready()), None)
        if found is None:
            raise Problem(404, "there is no model yet: `hub train` makes one", "no_model")
        return found
