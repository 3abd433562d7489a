"""Rows of the `models` table, which Spark SQL reads; model cards hold the same without Spark."""

import json
import secrets
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime

from pyspark.sql import SparkSession

from conf import version
from conf.sections import Lake
from conf.settings import Settings
from lake import row_writer, tables
from lake.schemas import Table
from models.errors import UnknownModel
from models.plan import TrainingPlan
from models.registry import model_cards
from models.registry.model_cards import ModelCard, State


def new_id(architecture: str) -> str:
    """An id that sorts by time, like `resnet20-20261121-0812-3fa9c07e`."""
    return f"{architecture}-{datetime.now(UTC):%Y%m%d-%H%M}-{secrets.token_hex(4)}"


def find(spark: SparkSession, lake: Lake, model_id: str) -> State:
    """The state of a model in the table.

    Raises:
        UnknownModel: there is none of this id; names the newest ones.
    """
    if not tables.exists(spark, lake, Table.MODELS):
        raise UnknownModel(model_cards.unknown(model_id, []))
    models = tables.read(spark, lake, Table.MODELS)
    found = models.where(models.model_id == model_id).select("state").head()
    if found is None:
        newest = models.orderBy(models.created.desc()).select("model_id").limit(model_cards.NAMED).collect()
        raise UnknownModel(model_cards.unknown(model_id, [row.model_id for row in newest]))
    return State(found.state)


def begin(
    settings: Settings, model_id: str, plan: TrainingPlan, labels: tuple[str, ...], resumed: bool = False
) -> None:
    """Add a card and a row for a model that is being trained; one that is gone on with keeps its own.

    Raises:
        StorageError: the lake cannot be written.
    """
    created, code_version = _started(settings, model_id, resumed), version.of_code()
    made = ModelCard(
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
    model_cards.write(settings, made)
    state = {"model_id": model_id, "state": State.TRAINING.value, "detail": None, "finished": None}
    if resumed and row_writer.update(settings, Table.MODELS, "model_id", state):
        return
    row = state | {
        "dataset_id": plan.dataset_id,
        "architecture": plan.architecture,
        "settings": json.dumps(asdict(plan), sort_keys=True),
        "workers": plan.workers,
        "path": model_cards.artifacts(settings, model_id).root,
        "created": created,
        "code_version": code_version,
        "seed": plan.seed,
    }
    row_writer.append(settings, Table.MODELS, row)


def _started(settings: Settings, model_id: str, resumed: bool) -> datetime:
    """When a run began: now, or what its card says if it is gone on with."""
    if resumed:
        with suppress(UnknownModel, ValueError):
            return datetime.fromisoformat(model_cards.any_card(settings, model_id).created)
    return datetime.now(UTC)


def end(settings: Settings, model_id: str, metrics: dict[str, float] | None, detail: str = "") -> None:
    """Mark a model as ready with its figures or, without figures, as failed for the reason in `detail`.

    Raises:
        StorageError: the lake cannot be written.
    """
    if metrics is None:
        model_cards.fail(settings, model_id, detail)
    row = {
        "model_id": model_id,
        "metrics": metrics or {},
        "state": (State.READY if metrics is not None else State.FAILED).value,
        "detail": detail,
        "finished": datetime.now(UTC),
    } | {name: metrics[name] for name in ("seconds", "cpu_seconds") if metrics and name in metrics}
    row_writer.update(settings, Table.MODELS, "model_id", row)


def set_state(settings: Settings, model_id: str, state: State) -> None:
    """Give a model's row another state.

    Raises:
        StorageError: the lake cannot be written.
    """
    row_writer.update(settings, Table.MODELS, "model_id", {"model_id": model_id, "state": state.value})


def remeasure(settings: Settings, model_id: str, metrics: dict[str, float]) -> None:
    """Replace a model's figures in its row.

    Raises:
        StorageError: the lake cannot be written.
    """
    row_writer.update(settings, Table.MODELS, "model_id", {"model_id": model_id, "metrics": metrics})
