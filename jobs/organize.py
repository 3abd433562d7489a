"""`hub organize`: group near duplicates, split, and write a dataset snapshot."""

from typing import TYPE_CHECKING

import click

from conf.choices import SplitBy
from conf.errors import UsageError
from conf.value_types import LAST_SEED
from jobs.cli.command import Command, Outcome, run, say
from jobs.cli.label_flags import parse_labels
from jobs.curate import following

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
def main(
    labels: str | None,
    seed: int | None,
    phash_distance: int | None,
    split_by: str | None,
    once: bool,
    follow: bool,
    skip_catch_up: bool,
) -> Outcome:
    """Group near duplicates, split by group or by label, and write a dataset snapshot.

    With --split-by label, validation and test have labels that training does not see: a model for --objective
    triplet is then tested on, for example, people that it has never seen.
    """
    from conf import settings as configuration
    from lake.locks import maintenance_lock
    from lake.spark import session
    from organize.datasets import dataset
    from organize.follow.catching_up import catch_up

    settings = configuration.load()
    if once or follow:
        _refuse_dataset_flags(labels, seed, phash_distance, split_by, once and follow)
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
        organized = dataset.organize(spark, settings, wanted)
    finally:
        spark.stop()
    return results(organized), summary(organized), 0


def _refuse_dataset_flags(*given: object) -> None:
    if any(each not in (None, False) for each in given):
        raise UsageError("--once and --follow write no dataset: give one of them, and no other flag")


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
        ]
    )


if __name__ == "__main__":
    run(main)
