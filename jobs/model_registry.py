"""`hub models`: list, show, compare, export, use and retire models of the registry."""

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

    Without a command, models are listed. Each command has --json; none needs Spark.
    """


@main.command(cls=Command, name="list", example="hub models list --state ready")
@click.option("--state", type=click.Choice(STATES), help="Only models of this state.")
@click.option("--dataset", help="Only models trained on this dataset.")
def list_models(state: str | None, dataset: str | None) -> Outcome:
    """List models, newest first; a star marks the model in use.

    The table leaves out retired ones, as those of label checks are; --state retired and --json show them.
    """
    from jobs.cli.text_table import format_table
    from models.inference import catalogue

    settings = configuration.load()
    used = catalogue.in_use(settings)
    cards = [
        card
        for card in catalogue.list_models(settings)
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
            catalogue.format_duration(card.seconds),
        ]
        for card in cards
        if state or card.state != "retired"
    ]
    text = format_table(columns, rows) if rows else "no models; `hub train` makes one"
    if len(rows) < len(cards):
        text += f"\n{len(cards) - len(rows):,} retired not shown: --state retired"
    return {"in_use": used, "models": [_brief(card, used) for card in cards]}, text, 0


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
    """Show a model: its dataset and code version, settings, metrics and files."""
    from jobs.cli.text_table import format_table
    from models.inference import catalogue
    from models.registry import model_cards

    settings = configuration.load()
    entry = catalogue.load_entry(settings, model_id)
    card, files = entry.card, model_cards.artifact_storage(settings, model_id)
    used = catalogue.in_use(settings)
    results: dict[str, Any] = _brief(card, used) | {
        "side": card.side,
        "labels": list(card.labels),
        "code_version": card.code_version,
        "settings": card.plan,
        "figures": entry.figures,
        "epochs": len(entry.history),
        "path": files.root,
        "files": files.list_files(),
    }
    labels = f"{len(card.labels)}: {', '.join(card.labels[:12])}{', …' if len(card.labels) > 12 else ''}"
    facts = [
        ("model", f"{card.model_id}{' (in use)' if card.model_id == used else ''}"),
        ("state", f"{card.state}{f': {card.detail}' if card.detail else ''}"),
        ("dataset", card.dataset_id),
        ("architecture", f"{card.architecture}, {card.side} × {card.side} px, for {card.objective}"),
        ("labels", labels),
        ("trained", f"{card.created or 'by an older hub'} on {card.workers or '?'} workers"),
        ("time", catalogue.format_duration(card.seconds)),
        ("code", card.code_version or "–"),
        ("files", files.root),
    ]
    figures = sorted((name, f"{value:,.4g}") for name, value in entry.figures.items())
    plan = [(name, str(value)) for name, value in sorted(card.plan.items()) if value not in ("", None)]
    text = format_table(["", card.model_id], facts) + "\n\n" + format_table(["figure", "value"], figures)
    return results, text + "\n\n" + format_table(["setting", "value"], plan), 0


@main.command(
    cls=Command, name="compare", example=f"hub models compare {_ID} resnet20-20261121-0920-77c1d5b2"
)
@click.argument("model_ids", nargs=-1, required=True, metavar="ID ID...")
@click.option("--png", type=click.Path(dir_okay=False, path_type=Path), help="File to write the picture to.")
def compare(model_ids: tuple[str, ...], png: Path | None) -> Outcome:
    """Compare models: a table, and a picture with the table and their training curves.

    The picture is written to build/reports/compare.png, or to the file of --png.
    """
    from conf.places import base_dir
    from jobs.cli.text_table import format_table
    from lake.storage import Storage
    from models.inference import catalogue

    settings = configuration.load()
    entries = catalogue.compare(settings, model_ids)
    headings, rows = catalogue.comparison_table(entries)
    path = (png or base_dir() / "build" / "reports" / "compare.png").absolute()
    Storage(str(path.parent), settings.s3).write(path.name, catalogue.comparison_png(entries))
    # One column per model: all the metrics would not fit a terminal's width.
    text = format_table(headings[:1] + [row[0] for row in rows], list(zip(headings, *rows, strict=True))[1:])
    results = {
        "models": [_brief(entry.card, None) | {"figures": entry.figures} for entry in entries],
        "picture": str(path),
    }
    return results, f"{text}\ncurves: {path}", 0


@main.command(cls=Command, name="export", example=f"hub models export {_ID} --to phone --format tflite-int8")
@click.argument("model_id", metavar="ID")
@click.option("--to", "target", required=True, help="A new folder, or s3://bucket/prefix.")
@click.option(
    "--format", "formats", multiple=True, type=click.Choice(FORMATS), help="May be repeated. Default: all."
)
def export(model_id: str, target: str, formats: tuple[str, ...]) -> Outcome:
    """Copy a model's files to a folder or an object store; after a failure nothing is left there.

    All artifacts are copied, without checkpoints; with --format only these files and labels.txt.
    """
    from models.inference import delivery

    done = delivery.export(configuration.load(), model_id, target, formats)
    results = {"model_id": model_id, "path": done.target, "files": list(done.files), "bytes": done.size}
    return results, f"{len(done.files)} files, {done.size / 1e6:,.1f} MB in {done.target}", 0


@main.command(cls=Command, name="use", example=f"hub models use {_ID}")
@click.argument("model_id", metavar="ID", required=False)
@click.option("--none", "nothing", is_flag=True, help="Use no model.")
def use(model_id: str | None, nothing: bool) -> Outcome:
    """Set the model that predict and evaluate use without --model."""
    from conf.errors import UsageError
    from models.inference import catalogue

    settings = configuration.load()
    if nothing == bool(model_id):
        raise UsageError("give one model id, or --none")
    if not model_id:
        catalogue.clear_in_use(settings)
        return {"in_use": None}, "no model is in use", 0
    card = catalogue.set_in_use(settings, model_id)
    return {"in_use": model_id}, f"{model_id} is in use: {card.architecture}, {len(card.labels)} labels", 0


@main.command(cls=Command, name="retire", example=f"hub models retire {_ID}")
@click.argument("model_id", metavar="ID")
@click.option("--undo", is_flag=True, help="Make a retired model ready again.")
def retire(model_id: str, undo: bool) -> Outcome:
    """Retire a model: no command uses it any more. Its files are kept."""
    from models.inference import catalogue

    card = catalogue.retire(configuration.load(), model_id, undo)
    return {"model_id": model_id, "state": card.state}, f"{model_id} is {card.state}", 0


if __name__ == "__main__":
    run(main)
