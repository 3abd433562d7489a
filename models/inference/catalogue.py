"""Model catalogue: list, compare, retire, and choose the model in use. Needs no Spark."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from conf.errors import UsageError
from conf.settings import Settings
from lake.errors import StorageError
from lake.storage import Storage
from models.errors import UnknownModel, UnusableModel
from models.evaluation import artifacts, plots
from models.messages import EpochEnded
from models.registry import model_cards, model_rows
from models.registry.model_cards import ModelCard, State
from models.runs.training_run import mark_abandoned_runs

IN_USE = "in-use.json"  # beside the models' folders


@dataclass(frozen=True)
class Entry:
    """A model with its metrics and training history.

    Args:
        card: of the model.
        figures: content of metrics.json; empty before training ends.
        history: metrics of every epoch; empty before training ends.
    """

    card: ModelCard
    figures: dict[str, float]
    history: tuple[EpochEnded, ...]


def list_models(settings: Settings) -> list[ModelCard]:
    """All models, newest first; abandoned training runs are first marked as failed."""
    found = model_cards.all_cards(settings)
    if any(card.state is State.TRAINING for card in found) and mark_abandoned_runs(settings):
        found = model_cards.all_cards(settings)
    return found


def in_use(settings: Settings) -> str | None:
    """Id of the model in use, the default of predict and evaluate; None if none was chosen."""
    try:
        found = _folder(settings).read_json(IN_USE).get("model_id")
    except (StorageError, ValueError):
        return None
    return str(found) if found else None


def resolve_model_id(settings: Settings, model_id: str | None = None) -> str:
    """The given model id or, if there is none, the id of the model in use.

    Raises:
        UnknownModel: no id is given and no model is in use.
    """
    found = model_id or in_use(settings)
    if not found:
        raise UnknownModel(
            "no model is in use: name one with --model, or choose one with `hub models use ID`"
        )
    return found


def set_in_use(settings: Settings, model_id: str) -> ModelCard:
    """Make a model the one in use.

    Raises:
        UnknownModel, UnusableModel: no model has this id, or it is not ready.
    """
    found = model_cards.ready_card(settings, model_id)
    _folder(settings).write_json(IN_USE, {"model_id": model_id})
    return found


def clear_in_use(settings: Settings) -> None:
    """Clear the choice, so that no model is in use."""
    _folder(settings).write_json(IN_USE, {"model_id": ""})


def retire(settings: Settings, model_id: str, undo: bool = False) -> ModelCard:
    """Retire a ready model or, with `undo`, make a retired model ready again.

    Raises:
        UnknownModel: no model has this id.
        UnusableModel: the model is in use, or its state is another.
    """
    found = model_cards.any_card(settings, model_id)
    wanted = State.RETIRED if undo else State.READY
    if found.state is not wanted:
        raise UnusableModel(f"model {model_id} is {found.state}, not {wanted}")
    if in_use(settings) == model_id:
        raise UnusableModel(
            f"model {model_id} is in use: `hub models use` another first, or `hub models use --none`"
        )
    state = State.READY if undo else State.RETIRED
    model_cards.set_state(settings, model_id, state)
    model_rows.set_state(settings, model_id, state)
    return model_cards.any_card(settings, model_id)


def load_entry(settings: Settings, model_id: str) -> Entry:
    """Load a model's card, metrics and history, whatever its state.

    Raises:
        UnknownModel: no model has this id.
    """
    card, files = model_cards.any_card(settings, model_id), model_cards.artifact_storage(settings, model_id)
    try:
        values = files.read_json(artifacts.METRICS)
        history = _history(files.read(artifacts.HISTORY))
    except (StorageError, ValueError):
        values, history = {}, ()
    figures = {name: float(value) for name, value in values.items() if isinstance(value, int | float)}
    return Entry(card, figures, history)


def compare(settings: Settings, model_ids: Sequence[str]) -> list[Entry]:
    """Load several models, in the given order.

    Raises:
        UsageError: fewer than two models are named, or one of them twice.
        UnknownModel: no model has one of the ids.
    """
    if len(set(model_ids)) < 2 or len(set(model_ids)) < len(model_ids):
        raise UsageError("name two models or more, each once, as `hub models compare A B`")
    return [load_entry(settings, model_id) for model_id in model_ids]


def comparison_png(entries: Sequence[Entry]) -> bytes:
    """Learning curves of several models above a table of their metrics, as PNG."""
    named = [(found.card.model_id, found.history) for found in entries]
    return plots.compare_curves(named, *comparison_table(entries))


def comparison_table(entries: Sequence[Entry]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of a table that compares models, one row per model."""
    headings = ["model", "state", "dataset", "architecture", "epochs", "workers", "seed", "test accuracy"]
    headings += ["top-5", "calibration error", "images/s", "time", "CPU s"]
    return headings, [_row(found) for found in entries]


def _row(found: Entry) -> list[str]:
    card, figures = found.card, found.figures
    name = artifacts.accuracy_metric(card.objective)
    accuracy = _percentage(figures.get(name))
    if f"{name}_low" in figures:
        accuracy += f" ({_percentage(figures[f'{name}_low'])}–{_percentage(figures[f'{name}_high'])})"
    return [
        card.model_id,
        card.state.value,
        card.dataset_id,
        card.architecture,
        str(len(found.history)),
        str(card.workers or "–"),
        str(card.plan.get("seed", "–")),
        accuracy,
        _percentage(figures.get("test_top5")),
        _decimal(figures.get("calibration_error"), 3),
        _decimal(figures.get("images_per_second"), 0),
        format_duration(figures.get("seconds")),
        _decimal(figures.get("cpu_seconds"), 0),
    ]


def format_duration(seconds: float | None) -> str:
    """Format seconds for people: 45 s, 3 min 20 s, 2 h 5 min."""
    if seconds is None:
        return "–"
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60} s"
    return f"{rounded // 3600} h {rounded % 3600 // 60} min"


def _percentage(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"


def _decimal(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _history(content: bytes) -> tuple[EpochEnded, ...]:
    rows = csv.DictReader(io.StringIO(content.decode()))
    return tuple(_epoch(row) for row in rows)


def _epoch(row: dict[str, str]) -> EpochEnded:
    known = {name: float(value) for name, value in row.items() if value and name != "epoch"}
    missing = {name: None for name in ("validation_loss", "validation_accuracy") if name not in known}
    return EpochEnded(worker=0, epoch=int(row["epoch"]), **known, **missing)  # type: ignore[arg-type]  # as written


def _folder(settings: Settings) -> Storage:
    return Storage(settings.lake.at("artifacts"), settings.s3)
