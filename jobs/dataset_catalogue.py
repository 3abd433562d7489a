"""`hub datasets`: list, show, compare, verify, delete and export datasets, and write their cards."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from conf import settings as configuration
from jobs.cli.command import Command, Group, Outcome, run

if TYPE_CHECKING:
    from organize.datasets.catalogue import DatasetEntry

FORMATS = ("folder", "tfrecord", "webdataset", "huggingface", "coco")
_ID = "ds-86a4b15d1963"


@click.group(cls=Group, name="datasets", example=f"hub datasets show {_ID} --json")
def main() -> None:
    """List, show, compare, verify, delete or export datasets, or write their cards.

    Without a command, datasets are listed. Each command has --json; none needs Spark.
    """


@main.command(cls=Command, name="list", example="hub datasets list")
def list_datasets() -> Outcome:
    """List datasets, newest first."""
    from jobs.cli.text_table import format_table
    from lake.snapshot import Split
    from organize.datasets import catalogue

    entries = catalogue.list_datasets(configuration.load())
    columns = ["dataset", "created", "labels", *Split, "models", ""]
    rows = [
        [
            entry.dataset_id,
            _minute(entry),
            len(entry.snapshot.labels) if entry.snapshot else None,
            *(entry.counts.get(split, 0) for split in Split),
            len(entry.models),
            entry.problem[:60],
        ]
        for entry in entries
    ]
    text = format_table(columns, rows) if rows else "no datasets; `hub organize` makes one"
    return {"datasets": [_brief(entry) for entry in entries]}, text, 0


def _minute(entry: "DatasetEntry") -> str | None:
    return entry.created.strftime("%Y-%m-%d %H:%M") if entry.created else None


def _brief(entry: "DatasetEntry") -> dict[str, object]:
    return {
        "dataset_id": entry.dataset_id,
        "path": entry.storage.root,
        "created": entry.created and entry.created.isoformat(),
        "labels": list(entry.snapshot.labels) if entry.snapshot else [],
        "counts": entry.counts,
        "models": list(entry.models),
        "problem": entry.problem,
    }


@main.command(cls=Command, name="show", example=f"hub datasets show {_ID}")
@click.argument("dataset_id", metavar="ID")
def show(dataset_id: str) -> Outcome:
    """Show a dataset: its labels, splits, filter, sources, models, and what was left out."""
    from jobs.cli.text_table import format_table
    from lake.snapshot import Split
    from organize.datasets import catalogue
    from organize.datasets.cards.facts import DatasetFacts

    settings = configuration.load()
    entry, snapshot = catalogue.load(settings, dataset_id)
    facts = DatasetFacts.of(settings, entry, snapshot)
    results = _brief(entry) | {
        "counts_by_label": facts.counts,
        "left_out": facts.left_out,
        "sources": facts.sources,
        "filter": snapshot.filter,
        "seed": snapshot.seed,
        "table_versions": entry.table_versions,
        "manifest_sha256": facts.manifest_sha256,
        "shards": sum(map(len, snapshot.shards.values())),
        "problems": list(facts.problems),
    }
    totals = facts.totals()
    labels = [[label, *(counts.get(split, 0) for split in Split)] for label, counts in facts.counts.items()]
    table = format_table(["label", *Split], [*labels, ["all", *(totals[split] for split in Split)]])
    about = [
        ("dataset", entry.dataset_id),
        ("created", _minute(entry) or "not registered"),
        ("sources", ", ".join(f"{n:,} {name}" for name, n in facts.sources.items()) or "–"),
        ("left out", ", ".join(f"{n:,} {reason}" for reason, n in facts.left_out.items()) or "–"),
        ("models", ", ".join(entry.models) or "–"),
        ("files", entry.storage.root),
        *((name, str(value)) for name, value in facts.settings.items() if name != "labels"),
    ]
    problems = "\n".join(facts.problems)
    text = f"{format_table(['', entry.dataset_id], about)}\n\n{table}"
    return results, f"{text}\n\n{problems}".rstrip(), 0


@main.command(cls=Command, name="diff", example=f"hub datasets diff {_ID} ds-0c11d72c5a8e")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
def diff(first: str, second: str) -> Outcome:
    """Compare two datasets: labels, images, splits, labels of images, settings."""
    from jobs.cli.text_table import format_table
    from organize.datasets import catalogue

    found = catalogue.compare(configuration.load(), first, second)
    results = {"a": first, "b": second} | asdict(found)
    changes = asdict(found) | {"settings": None}
    lines = [f"{name.replace('_', ' ')}: {_counted(value)}" for name, value in changes.items() if value]
    if found.settings:
        rows = [[name.replace("_", " "), *map(_setting, values)] for name, values in found.settings.items()]
        lines.append(format_table(["setting", f"a: {first}", f"b: {second}"], rows))
    return results, "\n".join(lines) or f"{first} and {second} have the same images", 0


def _setting(value: object) -> str | None:
    return ", ".join(map(str, value)) if isinstance(value, list) else None if value is None else str(value)


def _counted(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{_counted(item)} {name}" for name, item in value.items())
    if isinstance(value, list):
        return " | ".join(map(str, value)) if len(value) < 20 else f"{len(value)} of them"
    return f"{value:,}" if isinstance(value, int) else str(value)


@main.command(cls=Command, name="verify", example=f"hub datasets verify {_ID}")
@click.argument("dataset_id", metavar="ID")
def verify(dataset_id: str) -> Outcome:
    """Compare each file of a dataset with its hash; the status is 1 if one is missing or altered."""
    from organize.datasets import catalogue, verification

    done = verification.verify(catalogue.find(configuration.load(), dataset_id))
    results = {
        "dataset_id": dataset_id,
        "intact": not done.problems,
        "shards": done.shards,
        "bytes": done.bytes,
        "problems": [asdict(problem) for problem in done.problems],
    }
    lines = [f"{problem.path}: {problem.problem}" for problem in done.problems]
    if not lines:
        lines = [f"{dataset_id} is intact: {done.shards} shards, {done.bytes / 1e6:,.1f} MB"]
    return results, "\n".join(lines), 1 if done.problems else 0


@main.command(cls=Command, name="delete", example=f"hub datasets delete {_ID}")
@click.argument("dataset_id", metavar="ID")
@click.option("--force", is_flag=True, help="Even if models name it; they cannot be evaluated any more.")
def delete(dataset_id: str, force: bool) -> Outcome:
    """Delete a dataset's files and its row. The pictures of the lake stay, and so do their splits."""
    from organize.datasets import catalogue

    entry = catalogue.delete(configuration.load(), dataset_id, force)
    results = {"dataset_id": dataset_id, "path": entry.storage.root, "models": list(entry.models)}
    return results, f"{dataset_id} is deleted: {entry.storage.root}", 0


@main.command(
    cls=Command, name="export", example=f"hub datasets export {_ID} --format webdataset --to s3://bucket/cats"
)
@click.argument("dataset_id", metavar="ID")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="folder", show_default=True)
@click.option("--to", "target", required=True, help="A new folder, or s3://bucket/prefix.")
def export(dataset_id: str, kind: str, target: str) -> Outcome:
    """Write a dataset in a format of other libraries, with its card; after a failure nothing is left."""
    from organize.datasets.exports.export import Format
    from organize.datasets.exports.export import export as write

    done = write(configuration.load(), dataset_id, Format(kind), target)
    results = {
        "dataset_id": dataset_id,
        "path": done.path,
        "format": done.format,
        "images": done.images,
        "files": done.files,
        "bytes": done.bytes,
        "seconds": round(done.seconds, 3),
    }
    text = f"{done.images:,} images, {done.files:,} files, {done.bytes / 1e6:,.1f} MB in {done.path}"
    return results, text, 0


@main.command(cls=Command, name="card", example=f"hub datasets card {_ID} --to cats-card")
@click.argument("dataset_id", metavar="ID")
@click.option("--to", "target", required=True, help="A new folder, or s3://bucket/prefix.")
def card(dataset_id: str, target: str) -> Outcome:
    """Write the card of a dataset: README.md, croissant.json (Croissant 1.0) and sample pictures."""
    from models.inference import export_target
    from organize.datasets.cards import card as cards

    settings = configuration.load()
    written = export_target.write(target, cards.card(settings, dataset_id), settings, "datasets card")
    results = {"dataset_id": dataset_id, "path": written.path, "files": written.files}
    return results, f"card of {dataset_id}: {written.path}/README.md", 0


if __name__ == "__main__":
    run(main)
