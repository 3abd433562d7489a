"""The models there are, which of them is in use, and how they compare. Needs no Spark."""

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
    """A model with its figures and the course of its training.

    Args:
        card: of the model.
        figures: of metrics.json; empty before there are any.
        history: figures of every epoch, likewise.
    """

    card: ModelCard
    figures: dict[str, float]
    history: tuple[EpochEnded, ...]


def listed(settings: Settings) -> list[ModelCard]:
    """All models, newest first; those whose training ended without a word are marked as failed before."""
    found = model_cards.listed(settings)
    if any(card.state is State.TRAINING for card in found) and mark_abandoned_runs(settings):
        found = model_cards.listed(settings)
    return found


def in_use(settings: Settings) -> str | None:
    """Id of the model that ingestion, label checks and serving use; None if nobody chose one."""
    try:
        found = _folder(settings).read_json(IN_USE).get("model_id")
    except (StorageError, ValueError):
        return None
    return str(found) if found else None


def chosen(settings: Settings, model_id: str | None = None) -> str:
    """The model that is named or, without a name, the one in use.

    Raises:
        UnknownModel: none is named and none in use.
    """
    found = model_id or in_use(settings)
    if not found:
        raise UnknownModel(
            "no model is in use: name one with --model, or choose one with `hub models use ID`"
        )
    return found


def use(settings: Settings, model_id: str) -> ModelCard:
    """Make a model the one in use.

    Raises:
        UnknownModel, UnusableModel: there is none of this id, or it is not ready.
    """
    found = model_cards.card(settings, model_id)
    _folder(settings).write_json(IN_USE, {"model_id": model_id})
    return found


def use_none(settings: Settings) -> None:
    """Let no model be in use."""
    _folder(settings).write_json(IN_USE, {"model_id": ""})


def retire(settings: Settings, model_id: str, undo: bool = False) -> ModelCard:
    """Take a model out of service, from this moment on, or back into it.

    Raises:
        UnknownModel: there is none of this id.
        UnusableModel: it is in use, or in a state that cannot be left this way.
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
    model_cards.mark(settings, model_id, state)
    model_rows.set_state(settings, model_id, state)
    return model_cards.any_card(settings, model_id)


def entry(settings: Settings, model_id: str) -> Entry:
    """A model in whatever state.

    Raises:
        UnknownModel: there is none of this id.
    """
    card, files = model_cards.any_card(settings, model_id), model_cards.artifacts(settings, model_id)
    try:
        values = files.read_json(artifacts.METRICS)
        history = _history(files.read(artifacts.HISTORY))
    except (StorageError, ValueError):
        values, history = {}, ()
    figures = {name: float(value) for name, value in values.items() if isinstance(value, int | float)}
    return Entry(card, figures, history)


def compare(settings: Settings, model_ids: Sequence[str]) -> list[Entry]:
    """Several models, in the order asked for.

    Raises:
        UsageError: fewer than two are named, or one of them twice.
        UnknownModel: there is none of an id.
    """
    if len(set(model_ids)) < 2 or len(set(model_ids)) < len(model_ids):
        raise UsageError("name two models or more, each once, as `hub models compare A B`")
    return [entry(settings, model_id) for model_id in model_ids]


def picture(entries: Sequence[Entry]) -> bytes:
    """Curves of several models above a table of their figures, as PNG."""
    named = [(found.card.model_id, found.history) for found in entries]
    return plots.compared(named, *table(entries))


def table(entries: Sequence[Entry]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows that set models side by side."""
    headings = ["model", "state", "dataset", "architecture", "epochs", "workers", "seed", "test accuracy"]
    headings += ["top-5", "calibration error", "images/s", "time", "CPU s"]
    return headings, [_row(found) for found in entries]


def _row(found: Entry) -> list[str]:
    card, figures = found.card, found.figures
    name = artifacts.accuracy_of(card.objective)
    accuracy = _share(figures.get(name))
    if f"{name}_low" in figures:
        accuracy += f" ({_share(figures[f'{name}_low'])}–{_share(figures[f'{name}_high'])})"
    return [
        card.model_id,
        card.state.value,
        card.dataset_id,
        card.architecture,
        str(len(found.history)),
        str(card.workers or "–"),
        str(card.plan.get("seed", "–")),
        accuracy,
        _share(figures.get("test_top5")),
        _number(figures.get("calibration_error"), 3),
        _number(figures.get("images_per_second"), 0),
        duration(figures.get("seconds")),
        _number(figures.get("cpu_seconds"), 0),
    ]


def duration(seconds: float | None) -> str:
    """As people say it: 45 s, 3 min 20 s, 2 h 5 min."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"


def _number(value: float | None, digits: int) -> str:
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
