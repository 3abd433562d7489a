"""Classifiers that answer requests: TFLite files of ready models, an interpreter for each thread."""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conf.settings import Settings
from models.errors import UnknownModel, UnusableModel
from models.pictures import inputs
from models.registry import model_cards
from models.registry.model_cards import ModelCard
from web.problems.problem import Problem

_TFLITE = "model.tflite"  # as models/formats/export.py names it, which imports h5py and more
_KEPT_MODELS = 2  # in memory
_KEPT_SECONDS = 2.0  # of the answer to which model is in use


@dataclass(frozen=True)
class LoadedClassifier:
    """A model's card and TFLite file in memory."""

    card: ModelCard
    content: bytes


class Classifiers:
    """Loads classifiers when they are asked for, and keeps the newest ones.

    Args:
        settings: of the hub.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._loaded: OrderedDict[str, LoadedClassifier] = OrderedDict()
        self._default: tuple[float, str | None] = (0.0, None)
        self._local = threading.local()

    def card(self, model_id: str | None) -> ModelCard:
        """The card of a classifier; see `predict`."""
        return self._load(model_id or self._default_id()).card

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
        loaded = self._load(model_id or self._default_id())
        pixels = inputs.decode_centre_crop(jpeg, loaded.card.side)
        return loaded.card, self._run(loaded, pixels)

    def _run(self, loaded: LoadedClassifier, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        interpreter = self._interpreter(loaded)
        details = interpreter.get_input_details()[0]
        interpreter.set_tensor(details["index"], pixels[None].astype(details["dtype"]))
        interpreter.invoke()
        output = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
        probabilities: NDArray[np.float32] = np.asarray(output, np.float32)
        return probabilities

    def _interpreter(self, loaded: LoadedClassifier) -> Any:
        """This thread's interpreter: interpreters are not safe to share."""
        from ai_edge_litert.interpreter import Interpreter

        kept: OrderedDict[str, Any] = self._local.__dict__.setdefault("interpreters", OrderedDict())
        interpreter = kept.get(loaded.card.model_id)
        if interpreter is None:
            interpreter = Interpreter(model_content=loaded.content, num_threads=1)
            interpreter.allocate_tensors()
            kept[loaded.card.model_id] = interpreter
            if len(kept) > _KEPT_MODELS:
                kept.popitem(last=False)
        return interpreter

    def _load(self, model_id: str) -> LoadedClassifier:
        with self._lock:
            if model_id in self._loaded:
                self._loaded.move_to_end(model_id)
                return self._loaded[model_id]
        try:
            card = model_cards.ready_card(self._settings, model_id)
        except UnknownModel as error:
            raise Problem(404, str(error), "unknown_model") from None
        except UnusableModel as error:
            raise Problem(409, str(error), "unusable_model") from None
        if card.objective != "labels":
            raise Problem(409, f"model {model_id} outputs embeddings, not labels", "unusable_model")
        content = model_cards.artifact_storage(self._settings, model_id).read(_TFLITE)
        with self._lock:
            loaded = self._loaded[model_id] = LoadedClassifier(card, content)
            if len(self._loaded) > _KEPT_MODELS:
                self._loaded.popitem(last=False)
        return loaded

    def _default_id(self) -> str:
        """The model in use, else the newest ready classifier; looked up again every few moments."""
        asked, found = self._default
        if found is None or time.monotonic() - asked > _KEPT_SECONDS:
            found = self._find_default()
            self._default = time.monotonic(), found
        return found

    def _find_default(self) -> str:
        from models.inference import catalogue

        used = catalogue.in_use(self._settings)
        if used is not None:
            return used
        for card in model_cards.ready_cards(self._settings):
            if card.objective == "labels":
                return card.model_id
        raise Problem(404, "there is no model yet: `hub train` makes one", "no_model")
