"""`hub organize`: group near duplicates, split, and write a dataset snapshot."""

from typing import TYPE_CHECKING, Any

import click

from conf.choices import Flag, SplitBy
from conf.errors import UsageError
from conf.value_types import LAST_SEED
from jobs.cli.command import Command, Outcome, run, say
from jobs.cli.label_flags import parse_labels
from jobs.curate import following
from organize.datasets.selection import NO_WEIGHTS, Selection, class_weights

if TYPE_CHECKING:
    from organize.datasets.dataset import OrganizedDataset


@click.command(cls=Command, name="organize", example="hub organize --labels cat,dog --seed 7")
@click.option("--labels", help="Labels or their names, separated by commas. Default: all ready labels.")
@click.option(
    "--seed", type=click.IntRange(0, LAST_SEED), help="Seed of shuffling and splits. Default: organize.seed."
)
@click.option(
    "--phash-distance", type=click.IntRange(0, 16), help="Bits by which near duplicates may differ."
)
@click.option(
    "--split-by",
    type=click.Choice([each.value for each in SplitBy]),
    help="group: near duplicates are in one split; label: all pictures of a label are, for --objective "
    "triplet. Default: organize.split_by.",
)
@click.option("--once", is_flag=True, help="Only embed, group, cluster and score the samples, then stop.")
@click.option("--follow", is_flag=True, help="The same, and then as uploads arrive, until Ctrl-C.")
@click.option("--skip-catch-up", is_flag=True, help="Choose among the samples as they are organized now.")
@click.option("--where", default="", metavar="SQL", help="Condition on the columns of samples.")
@click.option(
    "--cap", type=click.IntRange(1), default=None, help="Most images of a label; the best are kept."
)
@click.option(
    "--without-flags", default="", metavar="FLAGS", help="Leave out images with one of these quality flags."
)
@click.option(
    "--min-label-quality",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="Leave out images with a lower label quality. Those without one stay.",
)
@click.option("--best-of-group", is_flag=True, help="Only the best image of each group of near duplicates.")
@click.option(
    "--weights",
    default=NO_WEIGHTS,
    metavar="balanced|none|FILE",
    help="Weights of the labels in training: balanced, or a CSV of label,weight. Default: none.",
)
@click.option(
    "--new-splits", is_flag=True, help="Forget the splits of all images; refused once a model was trained."
)
@click.option("--force", is_flag=True, help="With --new-splits: even if a model was trained.")
def main(
    labels: str | None,
    seed: int | None,
    phash_distance: int | None,
    split_by: str | None,
    new_splits: bool,
    force: bool,
    once: bool,
    follow: bool,
    skip_catch_up: bool,
    **options: Any,
) -> Outcome:
    """Group near duplicates, split by group or by label, and write a dataset snapshot.

    Images keep the split that they were given first. New groups are split so that each label has the
    fractions of organize.fractions. --labels animal takes the labels below animal in the hierarchy.

    With --split-by label, validation and test have labels that training does not see: a model for --objective
    triplet is then tested on, for example, people that it has never seen.
    """
    from conf import settings as configuration
    from lake.locks import maintenance_lock
    from lake.spark import session
    from organize.datasets import dataset
    from organize.follow.catching_up import catch_up

    if force and not new_splits:
        raise UsageError("--force is for --new-splits")
    selection = _selection(**options)
    settings = configuration.load()
    if once or follow:
        dataset_flags = (labels, seed, phash_distance, split_by, new_splits, selection != Selection())
        _refuse_dataset_flags(*dataset_flags, once and follow)
        return following.once(settings) if once else following.follow(settings)
    changes = {"seed": seed, "phash_distance": phash_distance, "split_by": split_by and SplitBy(split_by)}
    plan = settings.organize.model_copy(update={k: v for k, v in changes.items() if v is not None})
    settings = settings.model_copy(update={"organize": plan})
    wanted = [] if labels is None else parse_labels(labels, "omit it for all ready labels")
    maintenance_lock.refuse_if_held(settings)
    spark = session.start(settings, "organize")
    try:
        if not skip_catch_up:
            catch_up(spark, settings, report=say)
        change = dataset.SplitChange(new_splits, force)
        organized = dataset.organize(spark, settings, wanted, selection, change)
    finally:
        session.stop(spark)
    return results(organized), summary(organized), 0


def _refuse_dataset_flags(*given: object) -> None:
    if any(each not in (None, False) for each in given):
        raise UsageError("--once and --follow write no dataset: give one of them, and no other flag")


def _selection(cap: int | None, without_flags: str, **options: Any) -> Selection:
    """The selection of the command line; unknown flags are refused."""
    flags = [flag.strip() for flag in without_flags.split(",") if flag.strip()]
    unknown = [flag for flag in flags if flag not in set(Flag)]
    if unknown:
        known = ", ".join(Flag)
        raise UsageError(f"--without-flags {without_flags!r}: no flag {unknown[0]!r}; there are {known}")
    class_weights(options["weights"], {})  # a file that cannot be read is refused before Spark starts
    return Selection(cap=cap or 0, without_flags=tuple(sorted(set(flags))), **options)


def results(organized: "OrganizedDataset") -> dict[str, object]:
    """The dataset for --json."""
    return {
        "dataset_id": organized.dataset_id,
        "path": organized.snapshot.storage.root,
        "labels": list(organized.snapshot.labels),
        "counts": organized.totals(),
        "counts_by_label": organized.counts,
        "groups": organized.groups,
        "left_out": organized.left_out,
        "remembered": organized.remembered,
        "problems": _problems(organized),
        "manifest_sha256": organized.manifest_sha256,
        "reused": organized.reused,
    }


def summary(organized: "OrganizedDataset") -> str:
    """The dataset as text."""
    from jobs.cli.text_table import format_table
    from lake.snapshot import Split

    columns = ["label", *(split.value for split in Split)]
    rows = [[label, *counts.values()] for label, counts in organized.counts.items()]
    total = ["all", *organized.totals().values()]
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in organized.left_out.items()) or "nothing"
    state = "exists already" if organized.reused else "written"
    return "\n".join(
        [
            f"dataset {organized.dataset_id} {state}: {organized.snapshot.storage.root}",
            format_table(columns, [*rows, total]),
            f"{organized.groups:,} duplicate groups, left out: {left_out}",
            *_remembered(organized),
            *_problems(organized),
        ]
    )


def _remembered(organized: "OrganizedDataset") -> list[str]:
    count = organized.remembered
    return [f"{count:,} images keep the split of an earlier run"] if count else []


def _problems(organized: "OrganizedDataset") -> list[str]:
    """What a user should know about the dataset, as its card says it."""
    from organize.datasets.cards.facts import expected_splits, known_problems

    return known_problems(organized.counts, organized.left_out, expected_splits(organized.snapshot))


if __name__ == "__main__":
    run(main)
