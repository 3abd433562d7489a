"""Which models there are: rows of the `models` table, and cards beside the artifacts that need no Spark."""

import json
import re
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pyspark.sql import SparkSession

from conf import version
from conf.errors import UsageError
from conf.sections import Lake
from conf.settings import Settings
from lake import rows, tables
from lake.errors import StorageError
from lake.schemas import Table
from lake.storage import Storage
from models.errors import UnknownModel, UnusableModel
from models.plan import TrainingPlan

CARD = "model.json"
NAMED = 5  # ids that an error names


class State(StrEnum):
    """What a model has come to."""

    TRAINING = "training"
    READY = "ready"
    FAILED = "failed"
    RETIRED = "retired"


@dataclass(frozen=True)
class Card:
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


def new_id(architecture: str) -> str:
    """An id that sorts by time, like `resnet20-20261121-0812-3fa9`."""
    return f"{architecture}-{datetime.now(UTC):%Y%m%d-%H%M}-{secrets.token_hex(2)}"


def artifacts(settings: Settings, model_id: str) -> Storage:
    """Where a model's files are."""
    return Storage(settings.lake.at("artifacts", model_id), settings.s3)


def card(settings: Settings, model_id: str) -> Card:
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


def card_for_labels(settings: Settings, model_id: str) -> Card:
    """The card of a model that answers labels.

    Raises:
        UnknownModel, UnusableModel: there is none of this id, or it is not ready.
        UsageError: it answers embeddings.
    """
    found = card(settings, model_id)
    if found.objective == "triplet":
        raise UsageError(f"model {model_id} answers embeddings, not labels: name one trained for labels")
    return found


def any_card(settings: Settings, model_id: str) -> Card:
    """Find a model in whatever state.

    Raises:
        UnknownModel: there is none of this id; names the newest ones.
    """
    try:
        return _read(artifacts(settings, model_id))
    except (StorageError, ValueError, TypeError, KeyError):
        raise UnknownModel(_unknown(model_id, [found.model_id for found in ready(settings)])) from None


def _read(files: Storage) -> Card:
    values: dict[str, Any] = files.read_json(CARD)
    # A newer version of the hub may have written more.
    known = {name: value for name, value in values.items() if name in Card.__dataclass_fields__}
    return Card(
        **known | {"labels": tuple(values["labels"]), "state": State(values.get("state", State.READY))}
    )


def add_card(settings: Settings, made: Card) -> None:
    """Write a model's card; one in state ready makes it usable."""
    artifacts(settings, made.model_id).write_json(CARD, asdict(made))


def mark(settings: Settings, model_id: str, state: State, detail: str = "") -> None:
    """Give a model's card another state."""
    add_card(settings, replace(any_card(settings, model_id), state=state, detail=detail))


def fail(settings: Settings, model_id: str, cause: str) -> None:
    """Mark a model as failed, as far as that can be written: what failed first is what counts."""
    with suppress(StorageError, UnknownModel):
        mark(settings, model_id, State.FAILED, cause)


def finish(settings: Settings, model_id: str, seconds: float | None, accuracy: float | None) -> None:
    """Make a model usable; the last thing that is written beside its artifacts."""
    made = any_card(settings, model_id)
    add_card(settings, replace(made, state=State.READY, seconds=seconds, accuracy=accuracy))


def cards(settings: Settings) -> list[Card]:
    """All models that have a readable card, newest first."""
    folder = Storage(settings.lake.at("artifacts"), settings.s3)
    found = []
    for name in folder.folders():
        with suppress(StorageError, ValueError, TypeError, KeyError):
            found.append(_read(folder.below(name)))
    return sorted(found, key=_begun, reverse=True)


def ready(settings: Settings) -> list[Card]:
    """Models that can be used, newest first."""
    return [found for found in cards(settings) if found.state is State.READY]


def _begun(found: Card) -> tuple[str, str]:
    """What cards sort by: the minute, which old cards have in their id only, then the second, then the id."""
    digits = re.sub(r"\D", "", found.created or found.model_id.split("-", 1)[-1])
    return digits[:12], f"{found.created} {found.model_id}"


def _unknown(model_id: str, known: list[str]) -> str:
    there = (
        f"the newest are {', '.join(known[:NAMED])}" if known else "there is none yet, `hub train` makes one"
    )
    return f"no model {model_id!r}: {there}"


def find(spark: SparkSession, lake: Lake, model_id: str) -> State:
    """The state of a model in the table.

    Raises:
        UnknownModel: there is none of this id; names the newest ones.
    """
    if not tables.exists(spark, lake, Table.MODELS):
        raise UnknownModel(_unknown(model_id, []))
    models = tables.read(spark, lake, Table.MODELS)
    found = models.where(models.model_id == model_id).select("state").head()
    if found is None:
        newest = models.orderBy(models.created.desc()).select("model_id").limit(NAMED).collect()
        raise UnknownModel(_unknown(model_id, [row.model_id for row in newest]))
    return State(found.state)


def begin(
    settings: Settings, model_id: str, plan: TrainingPlan, labels: tuple[str, ...], resumed: bool = False
) -> None:
    """Add a card and a row for a model that is being trained; one that is gone on with keeps its own.

    Raises:
        StorageError: the lake cannot be written.
    """
    created, code_version = _started(settings, model_id, resumed), version.of_code()
    made = Card(
        model_id=model_id,
        dataset_id=plan.dataset_id,
        architecture=plan.architecture,
        side=plan.side,
        labels=labels,
        objective=plan.objective,
        state=State.TRAINING,
        created=created.isoformat(timespec="seconds"),
        workers=plan.workers,
        code_version=code_version,
        plan=asdict(plan),
    )
    add_card(settings, made)
    state = {"model_id": model_id, "state": State.TRAINING.value, "detail": None, "finished": None}
    if resumed and rows.update(settings, Table.MODELS, "model_id", state):
        return
    row = state | {
        "dataset_id": plan.dataset_id,
        "architecture": plan.architecture,
        "settings": json.dumps(asdict(plan), sort_keys=True),
        "workers": plan.workers,
        "path": artifacts(settings, model_id).root,
        "created": created,
        "code_version": code_version,
        "seed": plan.seed,
    }
    rows.append(settings, Table.MODELS, row)


def _started(settings: Settings, model_id: str, resumed: bool) -> datetime:
    """When a run began: now, or what its card says if it is gone on with."""
    if resumed:
        with suppress(UnknownModel, ValueError):
            return datetime.fromisoformat(any_card(settings, model_id).created)
    return datetime.now(UTC)


def end(settings: Settings, model_id: str, metrics: dict[str, float] | None, detail: str = "") -> None:
    """Mark a model as ready with its figures or, without figures, as failed for the reason in `detail`.

    Raises:
        StorageError: the lake cannot be written.
    """
    if metrics is None:
        fail(settings, model_id, detail)
    row = {
        "model_id": model_id,
        "metrics": metrics or {},
        "state": (State.READY if metrics is not None else State.FAILED).value,
        "detail": detail,
        "finished": datetime.now(UTC),
    } | {name: metrics[name] for name in ("seconds", "cpu_seconds") if metrics and name in metrics}
    rows.update(settings, Table.MODELS, "model_id", row)


def set_state(settings: Settings, model_id: str, state: State) -> None:
    """Give a model's row another state.

    Raises:
        StorageError: the lake cannot be written.
    """
    rows.update(settings, Table.MODELS, "model_id", {"model_id": model_id, "state": state.value})


def remeasure(settings: Settings, model_id: str, metrics: dict[str, float]) -> None:
    """Replace a model's figures in its row.

    Raises:
        StorageError: the lake cannot be written.
    """
    rows.update(settings, Table.MODELS, "model_id", {"model_id": model_id, "metrics": metrics})
