"""Model cards (`model.json` beside the artifacts): model metadata that can be read without Spark."""

import re
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from conf.errors import UsageError
from conf.settings import Settings
from lake.errors import StorageError
from lake.storage import Storage, is_plain_name
from models.errors import UnknownModel, UnusableModel

CARD_FILE = "model.json"
MAX_IDS_IN_ERROR = 5


class State(StrEnum):
    """State of a model in the registry."""

    TRAINING = "training"
    READY = "ready"
    FAILED = "failed"
    RETIRED = "retired"


@dataclass(frozen=True)
class ModelCard:
    """Metadata of a model, enough to use and list it without Spark; kept beside its artifacts.

    Args:
        model_id: id of the model.
        dataset_id: id of the dataset snapshot that it was trained on.
        architecture: its name.
        side: side of the square input pictures (pixels).
        labels: label names; the position is the index of the model's output.
        objective: labels, or triplet where the model outputs embeddings.
        state: only a ready model can be used.
        detail: why it failed.
        created: when training began (ISO 8601, UTC).
        workers: number of workers that trained it.
        code_version: of the hub that trained it.
        plan: its training settings, named as in `TrainingPlan`.
        seconds: from the command to the results; None until then.
        accuracy: on the test split, of nearest neighbours for embeddings; None if it was not measured.
    """

    model_id: str
    dataset_id: str
    architecture: str
    side: int
    labels: tuple[str, ...]
    objective: str = "labels"
    state: State = State.READY
    detail: str = ""
    created: str = ""
    workers: int = 0
    code_version: str = ""
    plan: dict[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    accuracy: float | None = None


def artifact_storage(settings: Settings, model_id: str) -> Storage:
    """Return the storage of a model's files."""
    return Storage(settings.lake.at("artifacts", model_id), settings.s3)


def ready_card(settings: Settings, model_id: str) -> ModelCard:
    """Read the card of a ready model.

    Raises:
        UnknownModel: no model has this id; the message names the newest ones.
        UnusableModel: it is being trained, has failed or is retired.
    """
    card = any_card(settings, model_id)
    if card.state is State.TRAINING:
        raise UnusableModel(f"model {model_id} is still being trained, or its run was interrupted")
    if card.state is State.FAILED:
        raise UnusableModel(f"model {model_id} has failed: {card.detail}")
    if card.state is State.RETIRED:
        raise UnusableModel(
            f"model {model_id} is retired: name another, or `hub models retire {model_id} --undo`"
        )
    return card


def classifier_card(settings: Settings, model_id: str) -> ModelCard:
    """Read the card of a ready model that predicts labels.

    Raises:
        UnknownModel, UnusableModel: no model has this id, or it is not ready.
        UsageError: it outputs embeddings.
    """
    card = ready_card(settings, model_id)
    if card.objective == "triplet":
        raise UsageError(f"model {model_id} outputs embeddings, not labels: name a model trained for labels")
    return card


def any_card(settings: Settings, model_id: str) -> ModelCard:
    """Read the card of a model in any state.

    Raises:
        UnknownModel: no model has this id; the message names the newest ready ones.
    """
    with suppress(StorageError, ValueError, TypeError, KeyError):
        if is_plain_name(model_id):
            return _read_card(artifact_storage(settings, model_id))
    raise UnknownModel(unknown_model_message(model_id, [card.model_id for card in ready_cards(settings)]))


def _read_card(files: Storage) -> ModelCard:
    values: dict[str, Any] = files.read_json(CARD_FILE)
    # A newer version of the hub may have written fields that this one does not know.
    known = {name: value for name, value in values.items() if name in ModelCard.__dataclass_fields__}
    return ModelCard(
        **known | {"labels": tuple(values["labels"]), "state": State(values.get("state", State.READY))}
    )


def write_card(settings: Settings, card: ModelCard) -> None:
    """Write a model's card; the state ready makes the model usable."""
    artifact_storage(settings, card.model_id).write_json(CARD_FILE, asdict(card))


def set_state(settings: Settings, model_id: str, state: State, detail: str = "") -> None:
    """Update the state in a model's card."""
    write_card(settings, replace(any_card(settings, model_id), state=state, detail=detail))


def mark_failed(settings: Settings, model_id: str, cause: str) -> None:
    """Mark a model as failed; a write error is ignored, as it would hide the first cause."""
    with suppress(StorageError, UnknownModel):
        set_state(settings, model_id, State.FAILED, cause)


def mark_ready(settings: Settings, model_id: str, seconds: float | None, accuracy: float | None) -> None:
    """Make a model usable; written after all its artifacts."""
    card = any_card(settings, model_id)
    write_card(settings, replace(card, state=State.READY, seconds=seconds, accuracy=accuracy))


def set_accuracy(settings: Settings, model_id: str, accuracy: float | None) -> None:
    """Update the accuracy in a model's card; reads the card again to keep a state that changed meanwhile."""
    write_card(settings, replace(any_card(settings, model_id), accuracy=accuracy))


def all_cards(settings: Settings) -> list[ModelCard]:
    """Read all readable model cards, newest first."""
    folder = Storage(settings.lake.at("artifacts"), settings.s3)
    cards = []
    for name in folder.list_folders():
        with suppress(StorageError, ValueError, TypeError, KeyError):
            cards.append(_read_card(folder.subfolder(name)))
    return sorted(cards, key=_creation_key, reverse=True)


def ready_cards(settings: Settings) -> list[ModelCard]:
    """Read the cards of all ready models, newest first."""
    return [card for card in all_cards(settings) if card.state is State.READY]


def _creation_key(card: ModelCard) -> tuple[str, str]:
    """Sort key: the minute of creation (old cards have it in their id only), then the second, then the id."""
    digits = re.sub(r"\D", "", card.created or card.model_id.split("-", 1)[-1])
    return digits[:12], f"{card.created} {card.model_id}"


def unknown_model_message(model_id: str, known: list[str]) -> str:
    """Error message for an unknown id; it names the first ids of `known`, which are sorted newest first."""
    newest = ", ".join(known[:MAX_IDS_IN_ERROR])
    hint = f"the newest are {newest}" if known else "there is none yet, `hub train` makes one"
    return f"no model {model_id!r}: {hint}"
