"""`hub models`: the models there are, and what is done with them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conf import settings as configuration
from jobs.cli.command import Command, Group, Outcome, run

if TYPE_CHECKING:
    from models.registry.model_cards import ModelCard

STATES = ("training", "ready", "failed", "retired")
FORMATS = ("keras", "saved_model", "tflite", "tflite-int8")
_ID = "resnet20-20261121-0812-3fa9c07e"


@click.group(cls=Group, name="models", example=f"hub models show {_ID} --json")
def main() -> None:
    """List, show, compare, export, use or retire models.

    Without a command the models are listed. Each command takes --json; none needs Spark.
    """


@main.command(cls=Command, name="list", example="hub models list --state ready")
@click.option("--state", type=click.Choice(STATES), help="Only models of this state.")
@click.option("--dataset", help="Only models trained on this dataset.")
def listed(state: str | None, dataset: str | None) -> Outcome:
    """List models, newest first; a star marks the one in use."""
    from jobs.cli.text_table import table
    from models.inference import catalogue

    settings = configuration.load()
    used = catalogue.in_use(settings)
    found = [
        card
        for card in catalogue.listed(settings)
        if state in (None, card.state) and dataset in (None, card.dataset_id)
    ]
    columns = ["", "model", "state", "dataset", "architecture", "test accuracy", "workers", "time"]
    rows = [
        [
            "*" if card.model_id == used else "",
            card.model_id,
            card.state.value,
            card.dataset_id,
            card.architecture,
            "–" if card.accuracy is None else f"{card.accuracy:.2%}",
            card.workers or None,
            catalogue.duration(card.seconds),
        ]
        for card in found
    ]
    text = table(columns, rows) if rows else "no models; `hub train` makes one"
    return {"in_use": used, "models": [_brief(card, used) for card in found]}, text, 0


def _brief(card: "ModelCard", used: str | None) -> dict[str, object]:
    names = ("model_id", "state", "dataset_id", "architecture", "objective", "accuracy", "workers", "seconds")
    return {name: getattr(card, name) for name in names} | {
        "created": card.created,
        "in_use": card.model_id == used,
        "detail": card.detail,
    }


@main.command(cls=Command, name="show", example=f"hub models show {_ID}")
@click.argument("model_id", metavar="ID")
def show(model_id: str) -> Outcome:
    """Show what is known of a model: where it comes from, its settings, figures and files."""
    from jobs.cli.text_table import table
    from models.inference import catalogue
    from models.registry import model_cards

    settings = configuration.load()
    found = catalogue.entry(settings, model_id)
    card, files = found.card, model_cards.artifacts(settings, model_id)
    used = catalogue.in_use(settings)
    results: dict[str, Any] = _brief(card, used) | {
        "side": card.side,
        "labels": list(card.labels),
        "code_version": card.code_version,
        "settings": card.plan,
        "figures": found.figures,
        "epochs": len(found.history),
        "path": files.root,
        "files": files.names(),
    }
    labels = f"{len(card.labels)}: {', '.join(card.labels[:12])}{', …' if len(card.labels) > 12 else ''}"
    known = [
        ("model", f"{card.model_id}{' (in use)' if card.model_id == used else ''}"),
        ("state", f"{card.state}{f': {card.detail}' if card.detail else ''}"),
        ("dataset", card.dataset_id),
        ("architecture", f"{card.architecture}, {card.side} × {card.side} px, for {card.objective}"),
        ("labels", labels),
        ("trained", f"{card.created or 'by an older hub'} on {card.workers or '?'} workers"),
        ("time", catalogue.duration(card.seconds)),
        ("code", card.code_version or "–"),
        ("files", files.root),
    ]
    figures = sorted((name, f"{value:,.4g}") for name, value in found.figures.items())
    plan = [(name, str(value)) for name, value in sorted(card.plan.items()) if value not in ("", None)]
    text = table(["", card.model_id], known) + "\n\n" + table(["figure", "value"], figures)
    return results, text + "\n\n" + table(["setting", "value"], plan), 0


@main.command(
    cls=Command, name="compare", example=f"hub models compare {_ID} resnet20-20261121-0920-77c1d5b2"
)
@click.argument("model_ids", nargs=-1, required=True, metavar="ID ID...")
@click.option("--png", type=click.Path(dir_okay=False, path_type=Path), help="Where the picture goes.")
def compare(model_ids: tuple[str, ...], png: Path | None) -> Outcome:
    """Set models side by side: a table, and a picture with their curves and the table.

    The picture goes to build/reports/compare.png if --png does not say otherwise.
    """
    from conf.places import home
    from jobs.cli.text_table import table
    from lake.storage import Storage
    from models.inference import catalogue

    settings = configuration.load()
    entries = catalogue.compare(settings, model_ids)
    headings, rows = catalogue.table(entries)
    path = (png or home() / "build" / "reports" / "compare.png").absolute()
    Storage(str(path.parent), settings.s3).write(path.name, catalogue.picture(entries))
    # Models are columns: a terminal is narrower than their figures are many.
    text = table(headings[:1] + [row[0] for row in rows], list(zip(headings, *rows, strict=True))[1:])
    results = {
        "models": [_brief(found.card, None) | {"figures": found.figures} for found in entries],
        "picture": str(path),
    }
    return results, f"{text}\ncurves: {path}", 0


@main.command(cls=Command, name="export", example=f"hub models export {_ID} --to phone --format tflite-int8")
@click.argument("model_id", metavar="ID")
@click.option("--to", "target", required=True, help="A folder that is not there yet, or s3://bucket/prefix.")
@click.option(
    "--format", "formats", multiple=True, type=click.Choice(FORMATS), help="May be given again. Default: all."
)
def export(model_id: str, target: str, formats: tuple[str, ...]) -> Outcome:
    """Copy a model's files to a folder or an object store, whole or not at all.

    All artifacts are copied (not the checkpoints), or --format with labels.txt.
    """
    from models.inference import delivery

    done = delivery.export(configuration.load(), model_id, target, formats)
    results = {"model_id": model_id, "path": done.target, "files": list(done.files), "bytes": done.size}
    return results, f"{len(done.files)} files, {done.size / 1e6:,.1f} MB in {done.target}", 0


@main.command(cls=Command, name="use", example=f"hub models use {_ID}")
@click.argument("model_id", metavar="ID", required=False)
@click.option("--none", "nothing", is_flag=True, help="Let no model be in use.")
def use(model_id: str | None, nothing: bool) -> Outcome:
    """Make a model the one that predict (without --model), ingest, check-labels and serving use."""
    from conf.errors import UsageError
    from models.inference import catalogue

    settings = configuration.load()
    if nothing == bool(model_id):
        raise UsageError("name one model, or --none")
    if not model_id:
        catalogue.use_none(settings)
        return {"in_use": None}, "no model is in use", 0
    card = catalogue.use(settings, model_id)
    return {"in_use": model_id}, f"{model_id} is in use: {card.architecture}, {len(card.labels)} labels", 0


@main.command(cls=Command, name="retire", example=f"hub models retire {_ID}")
@click.argument("model_id", metavar="ID")
@click.option("--undo", is_flag=True, help="Make a retired model ready again.")
def retire(model_id: str, undo: bool) -> Outcome:
    """Take a model out of service: no command will use it. Its files stay."""
    from models.inference import catalogue

    card = catalogue.retire(configuration.load(), model_id, undo)
    return {"model_id": model_id, "state": card.state}, f"{model_id} is {card.state}", 0


if __name__ == "__main__":
    run(main)
