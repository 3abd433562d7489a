"""Rows of the `models` table, for queries with Spark SQL; model cards hold the same data without Spark."""

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
from lake.table import Table
from models.errors import UnknownModel
from models.plan import TrainingPlan
from models.registry import model_cards
from models.registry.model_cards import ModelCard, State


def new_model_id(architecture: str) -> str:
    """Create an id that sorts by time, like `resnet20-20261121-0812-3fa9c07e`."""
    return f"{architecture}-{datetime.now(UTC):%Y%m%d-%H%M}-{secrets.token_hex(4)}"


def find_state(spark: SparkSession, lake: Lake, model_id: str) -> State:
    """Read a model's state from the table.

    Raises:
        UnknownModel: no model has this id; the message names the newest ones.
    """
    if not tables.exists(spark, lake, Table.MODELS):
        raise UnknownModel(model_cards.unknown_model_message(model_id, []))
    models = tables.read(spark, lake, Table.MODELS)
    found = models.where(models.model_id == model_id).select("state").head()
    if found is None:
        newest_first = models.orderBy(models.created.desc()).select("model_id")
        newest = newest_first.limit(model_cards.MAX_IDS_IN_ERROR).collect()
        raise UnknownModel(model_cards.unknown_model_message(model_id, [row.model_id for row in newest]))
    return State(found.state)


def register_run(
    settings: Settings, model_id: str, plan: TrainingPlan, labels: tuple[str, ...], resumed: bool = False
) -> None:
    """Write card and row of a model whose training starts; a resumed run keeps its row and creation time.

    Raises:
        StorageError: the lake cannot be written.
    """
    created, code_version = _creation_time(settings, model_id, resumed), version.code_version()
    card = ModelCard(
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
    model_cards.write_card(settings, card)
    try:
        _write_row(settings, card, plan, created, resumed)
    except BaseException as error:
        model_cards.mark_failed(settings, model_id, str(error) or type(error).__name__)
        raise


def _write_row(
    settings: Settings, card: ModelCard, plan: TrainingPlan, created: datetime, resumed: bool
) -> None:
    """Write the row of a model whose training starts."""
    model_id = card.model_id
    state = {"model_id": model_id, "state": State.TRAINING.value, "detail": None, "finished": None}
    if resumed and row_writer.update(settings, Table.MODELS, "model_id", state):
        return
    row = state | {
        "dataset_id": plan.dataset_id,
        "architecture": plan.architecture,
        "settings": json.dumps(asdict(plan), sort_keys=True),
        "workers": plan.workers,
        "path": model_cards.artifact_storage(settings, model_id).root,
        "created": created,
        "code_version": card.code_version,
        "seed": plan.seed,
    }
    row_writer.append(settings, Table.MODELS, row)


def _creation_time(settings: Settings, model_id: str, resumed: bool) -> datetime:
    """Return now or, for a resumed run, the creation time in its card."""
    if resumed:
        with suppress(UnknownModel, ValueError):
            return datetime.fromisoformat(model_cards.any_card(settings, model_id).created)
    return datetime.now(UTC)


def record_result(
    settings: Settings, model_id: str, metrics: dict[str, float] | None, detail: str = ""
) -> None:
    """Mark a model's row as ready with its metrics or, without metrics, row and card as failed with `detail`.

    Raises:
        StorageError: the lake cannot be written.
    """
    if metrics is None:
        model_cards.mark_failed(settings, model_id, detail)
    row = {
        "model_id": model_id,
        "metrics": metrics or {},
        "state": (State.READY if metrics is not None else State.FAILED).value,
        "detail": detail,
        "finished": datetime.now(UTC),
    } | {name: metrics[name] for name in ("seconds", "cpu_seconds") if metrics and name in metrics}
    row_writer.update(settings, Table.MODELS, "model_id", row)


def set_state(settings: Settings, model_id: str, state: State) -> None:
    """Update the state in a model's row.

    Raises:
        StorageError: the lake cannot be written.
    """
    row_writer.update(settings, Table.MODELS, "model_id", {"model_id": model_id, "state": state.value})


def set_metrics(settings: Settings, model_id: str, metrics: dict[str, float]) -> None:
    """Replace the metrics in a model's row.

    Raises:
        StorageError: the lake cannot be written.
    """
    row_writer.update(settings, Table.MODELS, "model_id", {"model_id": model_id, "metrics": metrics})
