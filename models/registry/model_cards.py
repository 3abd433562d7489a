"""Cards: what is known of a model beside its artifacts, so that using and listing models needs no Spark."""

import re
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from conf.errors import UsageError
from conf.settings import Settings
from lake.errors import StorageError
from lake.storage import Storage, is_name
from models.errors import UnknownModel, UnusableModel

CARD = "model.json"
NAMED = 5  # ids that an error names


class State(StrEnum):
    """What a model has come to."""

    TRAINING = "training"
    READY = "ready"
    FAILED = "failed"
    RETIRED = "retired"


@dataclass(frozen=True)
class ModelCard:
    """What is needed to use a model and to list it without Spark; kept beside its artifacts.

    Args:
        model_id: of the model.
        dataset_id: of the snapshot it was trained on.
        architecture: its name.
        side: of the square pictures it takes (pixels).
        labels: names; the position is the index of the model's answer.
        objective: labels, or triplet where the model answers embeddings.
        state: what it has come to; only a ready one can be used.
        detail: why it failed.
        created: when training began (ISO 8601, UTC).
        workers: that trained it.
        code_version: of the hub that trained it.
        plan: its settings, as `TrainingPlan` names them.
        seconds: from the command to the results; None until then.
        accuracy: on the test split, of nearest neighbours for embeddings; None if nothing was measured.
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


def artifacts(settings: Settings, model_id: str) -> Storage:
    """Where a model's files are."""
    return Storage(settings.lake.at("artifacts", model_id), settings.s3)


def card(settings: Settings, model_id: str) -> ModelCard:
    """Find a model that can be used, without Spark.

    Raises:
        UnknownModel: there is none of this id; names the newest ones.
        UnusableModel: it is being trained, has failed or is retired.
    """
    found = any_card(settings, model_id)
    if found.state is State.TRAINING:
        raise UnusableModel(f"model {model_id} is still being trained, or its run was cut off")
    if found.state is State.FAILED:
        raise UnusableModel(f"model {model_id} has failed: {found.detail}")
    if found.state is State.RETIRED:
        raise UnusableModel(
            f"model {model_id} is retired: name another, or `hub models retire {model_id} --undo`"
        )
    return found


def card_for_labels(settings: Settings, model_id: str) -> ModelCard:
    """The card of a model that answers labels.

    Raises:
        UnknownModel, UnusableModel: there is none of this id, or it is not ready.
        UsageError: it answers embeddings.
    """
    found = card(settings, model_id)
    if found.objective == "triplet":
        raise UsageError(f"model {model_id} answers embeddings, not labels: name one trained for labels")
    return found


def any_card(settings: Settings, model_id: str) -> ModelCard:
    """Find a model in whatever state.

    Raises:
        UnknownModel: there is none of this id; names the newest ones.
    """
    with suppress(StorageError, ValueError, TypeError, KeyError):
        if is_name(model_id):
            return _read(artifacts(settings, model_id))
    raise UnknownModel(unknown(model_id, [found.model_id for found in ready(settings)]))


def _read(files: Storage) -> ModelCard:
    values: dict[str, Any] = files.read_json(CARD)
    # A newer version of the hub may have written more.
    known = {name: value for name, value in values.items() if name in ModelCard.__dataclass_fields__}
    return ModelCard(
        **known | {"labels": tuple(values["labels"]), "state": State(values.get("state", State.READY))}
    )


def write(settings: Settings, made: ModelCard) -> None:
    """Write a model's card; one in state ready makes it usable."""
    artifacts(settings, made.model_id).write_json(CARD, asdict(made))


def mark(settings: Settings, model_id: str, state: State, detail: str = "") -> None:
    """Give a model's card another state."""
    write(settings, replace(any_card(settings, model_id), state=state, detail=detail))


def fail(settings: Settings, model_id: str, cause: str) -> None:
    """Mark a model as failed, as far as that can be written: what failed first is what counts."""
    with suppress(StorageError, UnknownModel):
        mark(settings, model_id, State.FAILED, cause)


def finish(settings: Settings, model_id: str, seconds: float | None, accuracy: float | None) -> None:
    """Make a model usable; the last thing that is written beside its artifacts."""
    made = any_card(settings, model_id)
    write(settings, replace(made, state=State.READY, seconds=seconds, accuracy=accuracy))


def remeasure(settings: Settings, model_id: str, accuracy: float | None) -> None:
    """Give a model's card another accuracy; what it has come to, maybe in the meantime, stays."""
    write(settings, replace(any_card(settings, model_id), accuracy=accuracy))


def listed(settings: Settings) -> list[ModelCard]:
    """All models that have a readable card, newest first."""
    folder = Storage(settings.lake.at("artifacts"), settings.s3)
    found = []
    for name in folder.folders():
        with suppress(StorageError, ValueError, TypeError, KeyError):
            found.append(_read(folder.below(name)))
    return sorted(found, key=_begun, reverse=True)


def ready(settings: Settings) -> list[ModelCard]:
    """Models that can be used, newest first."""
    return [found for found in listed(settings) if found.state is State.READY]


def _begun(found: ModelCard) -> tuple[str, str]:
    """What cards sort by: the minute, which old cards have in their id only, then the second, then the id."""
    digits = re.sub(r"\D", "", found.created or found.model_id.split("-", 1)[-1])
    return digits[:12], f"{found.created} {found.model_id}"


def unknown(model_id: str, known: list[str]) -> str:
    """What to say of an id that nobody has, with the newest that there are."""
    there = (
        f"the newest are {', '.join(known[:NAMED])}" if known else "there is none yet, `hub train` makes one"
    )
    return f"no model {model_id!r}: {there}"
