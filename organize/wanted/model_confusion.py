"""The confusion of the newest model on its test split, from its evaluation."""

from contextlib import suppress
from typing import Any

from conf.settings import Settings
from lake.errors import StorageError
from models.evaluation import artifacts
from models.registry import model_cards
from organize.wanted.wishes import Confusion


def newest(settings: Settings) -> Confusion | None:
    """The confusion of the newest ready model that predicts labels and was evaluated; None without one."""
    for card in model_cards.ready_cards(settings):
        if card.objective != "labels":
            continue
        with suppress(StorageError, KeyError, ValueError):  # a model without an evaluation says nothing
            storage = model_cards.artifact_storage(settings, card.model_id)
            evaluation: dict[str, Any] = storage.read_json(artifacts.EVALUATION)
            return Confusion(card.model_id, evaluation["labels"], evaluation["confusion"])
    return None
