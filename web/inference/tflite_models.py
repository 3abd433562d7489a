"""TFLite files of ready models in memory, with an interpreter for each thread."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conf.settings import Settings
from models.errors import UnknownModel, UnusableModel
from models.registry import model_cards
from models.registry.model_cards import ModelCard
from web.problems.problem import Problem

_TFLITE = "model.tflite"  # as models/formats/export.py names it, which imports h5py and more
_KEPT_MODELS = 2  # in memory


@dataclass(frozen=True)
class LoadedModel:
    """A model's card and TFLite file in memory."""

    card: ModelCard
    content: bytes


class TfliteModels:
    """Loads models of one objective when they are asked for, and keeps the newest ones.

    Args:
        settings: of the hub.
        objective: of the models: labels or triplet.
        otherwise: why a model of another objective is refused, as the end of a sentence.
    """

    def __init__(self, settings: Settings, objective: str, otherwise: str) -> None:
        self._settings, self._objective, self._otherwise = settings, objective, otherwise
        self._lock = threading.Lock()
        self._loaded: OrderedDict[str, LoadedModel] = OrderedDict()
        self._local = threading.local()

    def load(self, model_id: str) -> LoadedModel:
        """A model by its id.

        Raises:
            Problem: 404, there is no such model; 409, it cannot be used.
        """
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
        if card.objective != self._objective:
            raise Problem(409, f"model {model_id} {self._otherwise}", "unusable_model")
        content = model_cards.artifact_storage(self._settings, model_id).read(_TFLITE)
        with self._lock:
            loaded = self._loaded[model_id] = LoadedModel(card, content)
            if len(self._loaded) > _KEPT_MODELS:
                self._loaded.popitem(last=False)
        return loaded

    def run(self, loaded: LoadedModel, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The model's output for one picture, RGB (side, side, 3): float32 (n,)."""
        interpreter = self._interpreter(loaded)
        details = interpreter.get_input_details()[0]
        interpreter.set_tensor(details["index"], pixels[None].astype(details["dtype"]))
        interpreter.invoke()
        output = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
        return np.array(output, np.float32)

    def ready(self) -> list[str]:
        """Ids of all ready models of the objective, the newest first."""
        cards = model_cards.ready_cards(self._settings)
        return [card.model_id for card in cards if card.objective == self._objective]

    def _interpreter(self, loaded: LoadedModel) -> Any:
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
