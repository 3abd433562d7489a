"""`hub labels`: all labels, who waits for which, which pictures would help, and the check of labels."""

import getpass
from typing import TYPE_CHECKING, Any

import click

from conf import settings as configuration
from conf.errors import UsageError
from jobs.cli.command import Command, Group, Outcome, run, say

if TYPE_CHECKING:
    from conf.settings import Settings
    from organize.wanted.wishes import Confusion


@click.group(cls=Group, name="labels", example="hub labels watch kiwi --user u-17")
def main() -> None:
    """List, watch and check labels.

    Without a command, labels are listed. Each command has --json; only check needs Spark.
    """


@main.command(cls=Command, name="list", example="hub labels list --json")
def list_labels() -> Outcome:
    """List all labels as a tree, with their pictures and whether they are ready for training."""
    from jobs.cli.text_table import format_table
    from organize.wanted import overview

    settings = configuration.load()
    found = overview.load(settings)
    shown = overview.with_pictures(found)
    rows, results = [], []
    for depth, label in overview.walk(found):
        missing = max(0, settings.labels.ready_images - label.images)
        state = "ready" if label.ready else f"{missing:,} missing" if label.images else ""
        watched = f"{len(label.watchers)} watching" if label.watchers else ""
        counts = [label.accepted, label.images, *label.splits.values(), label.doubtful]
        # A label above others is shown without counts, not as one that lacks pictures.
        own = counts if any(counts) else [None] * len(counts)
        row = ["  " * depth + label.label, label.display_name, *own, state, watched]
        rows += [row] if label.label in shown else []
        results.append(
            {
                "label": label.label,
                "display_name": label.display_name,
                "parent": label.parent,
                "depth": depth,
                "accepted": label.accepted,
                "images": label.images,
                "splits": dict(label.splits),
                "doubtful": label.doubtful,
                "ready": label.ready,
                "missing": missing,
                "watchers": list(label.watchers),
            }
        )
    columns = ["label", "name", "uploads", "images", "train", "validation", "test", "doubtful", "", ""]
    text = format_table(columns, rows) if rows else "no label has pictures; `hub push` brings some"
    if hidden := len(found) - len(shown):
        text += f"\n{hidden:,} more labels of {settings.labels.file} have no pictures yet (--json lists them)"
    return {"ready_images": settings.labels.ready_images, "labels": results}, text, 0


@main.command(cls=Command, name="watch", example="hub labels watch kiwi --user u-17")
@click.argument("label")
@click.option("--user", help="Who waits. Default: the name of this machine's user.")
def watch(label: str, user: str | None) -> Outcome:
    """Wait for a label: `hub labels wanted` names it first until it is ready."""
    from organize.wanted import watch_list

    settings = configuration.load()
    slug, who = _label(settings, label), _user(user)
    new = watch_list.watch(settings, slug, who)
    text = f"{who} {'now waits' if new else 'was already waiting'} for {slug}"
    return {"label": slug, "user": who, "watching": True, "changed": new}, text, 0


@main.command(cls=Command, name="unwatch", example="hub labels unwatch kiwi --user u-17")
@click.argument("label")
@click.option("--user", help="Who waited. Default: the name of this machine's user.")
def unwatch(label: str, user: str | None) -> Outcome:
    """Wait for a label no longer."""
    from organize.wanted import watch_list

    settings = configuration.load()
    slug, who = _label(settings, label), _user(user)
    gone = watch_list.unwatch(settings, slug, who)
    text = f"{who} {'no longer waits' if gone else 'was not waiting'} for {slug}"
    return {"label": slug, "user": who, "watching": False, "changed": gone}, text, 0


@main.command(cls=Command, name="place", example="hub labels place kiwi --under fruit")
@click.argument("label")
@click.option("--under", "parent", metavar="LABEL", help="Label above it. Default: none, it is at the top.")
def place(label: str, parent: str | None) -> Outcome:
    """Place a label below another one: asking for that one takes both.

    Labels that labels.csv lists have their place there.
    """
    from organize.wanted import placement

    settings = configuration.load()
    slug = _label(settings, label)
    above = None if parent is None else _label(settings, parent)
    changed = placement.place(settings, slug, above)
    where = f"below {above}" if above else "at the top"
    text = f"{slug} is {'now' if changed else 'already'} {where}"
    return {"label": slug, "parent": above, "changed": changed}, text, 0


@main.command(cls=Command, name="wanted", example="hub labels wanted --json")
def wanted() -> Outcome:
    """List which pictures would help most, and why.

    Labels that somebody waits for, that are nearly ready, that are short in a split, or that the newest model
    takes for another label.
    """
    from jobs.cli.text_table import format_table
    from organize.wanted import overview
    from organize.wanted.wishes import wanted as find_wanted

    settings = configuration.load()
    found = overview.load(settings)
    wishes = find_wanted(
        found.values(), settings.labels.ready_images, settings.organize.fractions, _confusion(settings)
    )
    results = [
        {
            "label": each.label,
            "need": each.need.value,
            "images": each.images,
            "detail": each.detail,
            "watchers": list(each.watchers),
        }
        for each in wishes
    ]
    rows = [[each.label, each.need.value.replace("_", " "), each.images, each.detail] for each in wishes]
    text = format_table(["label", "need", "images", "why"], rows) if rows else "nothing is wanted"
    return {"wanted": results}, text, 0


@main.command(cls=Command, name="check", example="hub labels check")
@click.option("--model", "model_id", metavar="ID", help="Judge by a model, on pictures it did not learn.")
@click.option("--deep", is_flag=True, help="Train folds of a network and judge by them; takes minutes.")
def check(model_id: str | None, deep: bool) -> Outcome:
    """Judge the label of each sample, and suggest another one where it is probably wrong.

    First by a probe of the embeddings, in a minute. With --deep by networks trained in folds, each for the
    pictures of the other folds; an interrupted check continues with the folds that are missing.
    """
    from lake.spark import session
    from organize import label_check

    if deep and model_id:
        raise UsageError("--deep and --model exclude each other: --deep trains models of its own")
    settings = configuration.load()
    if deep:
        checked = label_check.deep(settings, say)
    else:
        spark = session.start(settings, "labels")
        try:
            checked = label_check.quick(spark, settings, model_id)
        finally:
            session.stop(spark)
    return label_check.results(checked), _check_text(label_check.results(checked)), 0


def _check_text(results: dict[str, Any]) -> str:
    from jobs.cli.text_table import format_table

    doubtful: dict[str, int] = results["doubtful"]
    lines = [
        f"{results['checked']:,} labels judged by {results['model_id']} in {results['seconds']:.0f} s, "
        f"{sum(doubtful.values()):,} doubtful"
    ]
    if doubtful:
        lines.append(format_table(["label", "doubtful"], list(doubtful.items())))
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in results["not_checked"].items())
    lines += [f"not judged: {left_out}"] if left_out else []
    return "\n".join([*lines, "next: hub review" if doubtful else ""]).rstrip()


def _label(settings: "Settings", name: str) -> str:
    from lake.errors import BadLabel
    from lake.label_hierarchy import Hierarchy
    from lake.label_slug import label_slug

    try:
        return Hierarchy.read(settings.labels.file).resolve(label_slug(name))
    except BadLabel as error:
        raise UsageError(f"label {error}") from None


def _user(user: str | None) -> str:
    who = getpass.getuser() if user is None else user.strip()
    if not who:
        raise UsageError("--user is empty: give the name of who waits")
    return who


def _confusion(settings: "Settings") -> "Confusion | None":
    from organize.wanted import model_confusion

    return model_confusion.newest(settings)


if __name__ == "__main__":
    run(main)
