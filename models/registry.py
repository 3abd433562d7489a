"""Which models there are: rows of the `models` table, and cards beside the artifacts that need no Spark."""

import json
import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum

from pyspark.sql import SparkSession

from conf.settings import Lake, Settings
from lake import rows, tables
from lake.errors import StorageError
from lake.schemas import Table
from lake.storage import Storage
from models.errors import UnknownModel
from models.plan import TrainingPlan

CARD = "model.json"
NAMED = 5  # ids that an error names


class State(StrEnum):
    """What a model has come to."""

    TRAINING = "training"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True)
class Card:
    """What is needed to use a model, kept beside its artifacts; there is one only when the model is ready.

    Args:
        model_id: of the model.
        dataset_id: of the snapshot it was trained on.
        architecture: its name.
        side: of the square pictures it takes (pixels).
        labels: names; the position is the index of the model's answer.
        objective: labels, or triplet where the model answers embeddings.
    """

    model_id: str
    dataset_id: str
    architecture: str
    side: int
    labels: tuple[str, ...]
    objective: str = "labels"


def new_id(architecture: str) -> str:
    """An id that sorts by time, like `resnet20-20261121-0812-3fa9`."""
    return f"{architecture}-{datetime.now(UTC):%Y%m%d-%H%M}-{secrets.token_hex(2)}"


def artifacts(settings: Settings, model_id: str) -> Storage:
    """Where a model's files are."""
    return Storage(settings.lake.at("artifacts", model_id), settings.s3)


def card(settings: Settings, model_id: str) -> Card:
    """Find a ready model without Spark.

    Raises:
        UnknownModel: there is none of this id; names the newest ones.
    """
    try:
        values = artifacts(settings, model_id).read_json(CARD)
    except (StorageError, ValueError):
        raise UnknownModel(_unknown(model_id, _ready(settings))) from None
    labels = values.pop("labels")
    assert isinstance(labels, list)
    return Card(labels=tuple(labels), **values)  # type: ignore[arg-type]  # what `add_card` has written


def add_card(settings: Settings, made: Card) -> None:
    """Make a model usable; the last thing that is written of it."""
    artifacts(settings, made.model_id).write_json(CARD, asdict(made))


def _ready(settings: Settings) -> list[str]:
    """Ids of the models that have a card, newest first."""
    names = Storage(settings.lake.at("artifacts"), settings.s3).names()
    ids = [name.removesuffix(f"/{CARD}") for name in names if name.endswith(f"/{CARD}")]
    return sorted(ids, key=lambda model_id: model_id.split("-", 1)[-1], reverse=True)


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


def begin(settings: Settings, model_id: str, plan: TrainingPlan, resumed: bool = False) -> None:
    """Add a row for a model that is being trained; one that is gone on with keeps its row.

    Raises:
        StorageError: the lake cannot be written.
    """
    state = {"model_id": model_id, "state": State.TRAINING.value, "detail": None, "finished": None}
    if resumed and rows.update(settings, Table.MODELS, "model_id", state):
        return
    row = state | {
        "dataset_id": plan.dataset_id,
        "architecture": plan.architecture,
        "settings": json.dumps(asdict(plan), sort_keys=True),
        "workers": plan.workers,
        "path": artifacts(settings, model_id).root,
        "created": datetime.now(UTC),
    }
    rows.append(settings, Table.MODELS, row)


def end(settings: Settings, model_id: str, metrics: dict[str, float] | None, detail: str = "") -> None:
    """Mark a model as ready with its figures or, without figures, as failed for the reason in `detail`.

    Raises:
        StorageError: the lake cannot be written.
    """
    row = {
        "model_id": model_id,
        "metrics": metrics or {},
        "state": (State.READY if metrics is not None else State.FAILED).value,
        "detail": detail,
        "finished": datetime.now(UTC),
    }
    rows.update(settings, Table.MODELS, "model_id", row)


def remeasure(spark: SparkSession, lake: Lake, model_id: str, metrics: dict[str, float]) -> None:
    """Replace a model's figures.

    Raises:
        UnknownModel: the table has no such model.
    """
    find(spark, lake, model_id)
    row = {"model_id": model_id, "metrics": metrics}
    tables.upsert(spark, lake, Table.MODELS, [row], "model_id")
