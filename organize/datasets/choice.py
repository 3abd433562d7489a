"""Chooses the samples of a dataset, and counts what is left out and why."""

from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as f
from pyspark.sql import types as t

from conf.choices import SplitBy
from conf.organize_section import Organize
from lake import tables
from lake.errors import BadQuery, NothingToOrganize
from lake.schemas import EXCLUDING_FLAGS
from lake.snapshot import Split
from organize.datasets.selection import Selection
from organize.splits.fractions import split_labels
from organize.splits.label_splits import with_label_split
from organize.splits.remembered import IN_ANOTHER_SPLIT

GROUP = "coalesce(duplicate_group, image_id)"  # a sample without a group is a group of its own
_MATCHES, _REASON = "matches", "reason"
MAY_BE_CHOSEN = f"{_REASON} IS NULL"  # SQL condition, once `with_reason` has added the column


@dataclass(frozen=True)
class Choice:
    """The samples of a dataset with their splits, and reason to number of images that were left out."""

    samples: DataFrame
    left_out: dict[str, int]


def with_matches(samples: DataFrame, where: str) -> DataFrame:
    """Add `matches`: whether a sample meets a SQL condition. The empty condition is met by all.

    Raises:
        BadQuery: the condition is no SQL, names an unknown column, is not true or false, or is random.
    """
    if not where:
        return samples.withColumn(_MATCHES, f.lit(True))
    try:
        kind = samples.select(f.expr(where)).schema[0].dataType
        if not isinstance(kind, t.BooleanType):
            raise BadQuery(f"--where {where!r} is {kind.simpleString()}, not true or false; try a comparison")
        plan = samples.where(where)._jdf.queryExecution().analyzed()  # refuses aggregates, too
    except PySparkException as error:
        cause = tables.first_line(error).rstrip(";")
        raise BadQuery(f"--where {where!r}: {cause} (columns: {', '.join(samples.columns)})") from None
    if not plan.deterministic():
        raise BadQuery(f"--where {where!r} is random, so the dataset could not be made again; use --cap")
    return samples.withColumn(_MATCHES, f.coalesce(f.expr(where), f.lit(False)))


def with_reason(samples: DataFrame, selection: Selection) -> DataFrame:
    """Add `reason`: why a sample is left out whatever its label; null if it may be chosen.

    Args:
        samples: with `matches`.
    """
    reason = f.when(f.lit(False), "")
    for flag in EXCLUDING_FLAGS:
        reason = reason.when(f.array_contains("flags", flag), flag)
    reason = reason.when(~f.col(_MATCHES), "where_not_met")
    for flag in selection.without_flags:
        reason = reason.when(f.array_contains("flags", flag), f"flag_{flag}")
    if selection.min_label_quality > 0:
        reason = reason.when(f.col("label_quality") < selection.min_label_quality, "label_quality")
    return samples.withColumn(_REASON, reason)


def eligible_counts(samples: DataFrame) -> dict[str, int]:
    """Label to number of samples without a reason to be left out."""
    rows = samples.where(f"{_REASON} IS NULL AND label IS NOT NULL").groupBy("label").count().collect()
    return {row.label: row["count"] for row in rows}


def choose(
    samples: DataFrame, labels: list[str], selection: Selection, config: Organize, uploads: DataFrame
) -> Choice:
    """Choose the samples of a dataset.

    Args:
        samples: with `reason` and splits.
        labels: of the dataset.
        uploads: the ledger, for sizes and sharpness.

    Raises:
        NothingToOrganize: no sample is left, or the labels are too few to split by label.
    """
    reason = f.coalesce(_REASON, f.when(~f.col("label").isin(labels), "label_not_chosen"))
    if config.split_by is SplitBy.GROUP:
        reason = f.coalesce(reason, f.when(f.expr(IN_ANOTHER_SPLIT), "group_in_another_split"))
    judged = samples.withColumn(_REASON, reason)
    counted = judged.groupBy(_REASON).count().collect()
    left_out = {row.reason: row["count"] for row in counted if row.reason}
    chosen = judged.where(f"{_REASON} IS NULL").drop(_REASON, _MATCHES)
    left_out = dict(sorted(left_out.items()))
    images = sum(row["count"] for row in counted if not row.reason)
    if config.split_by is SplitBy.LABEL:
        kept = with_label_split(chosen, split_labels(labels, config.seed, config.fractions))
        images = _count_dropped("near_duplicate_in_another_split", left_out, images, kept)
        chosen = kept
    if selection.best_of_group or selection.cap:
        chosen = _with_sizes(chosen, uploads)
    if selection.best_of_group:
        copies = Window.partitionBy(f.expr(GROUP)).orderBy(*_best_copy())
        chosen = chosen.withColumn("nth", f.row_number().over(copies)).where("nth = 1").drop("nth")
        images = _count_dropped("not_best_of_group", left_out, images, chosen)
    if selection.cap:
        chosen = _capped(chosen, selection.cap)
        images = _count_dropped("over_cap", left_out, images, chosen)
    if not images:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(left_out.items()))
        raise NothingToOrganize(f"no image is left for the dataset: {reasons}; choose less strictly")
    return Choice(chosen, left_out)


def quotas(counts: Mapping[Split, int], cap: int) -> dict[Split, int]:
    """Divide the images that a label may have by the shares of its splits (largest remainders).

    Args:
        counts: split to images of the label.
        cap: largest number of images in all splits together.
    """
    total = sum(counts.values())
    if total <= cap:
        return dict(counts)
    shares = {split: cap * images for split, images in counts.items()}  # in units of 1 / total
    floors = {split: share // total for split, share in shares.items()}
    order = sorted(counts, key=lambda split: (-(shares[split] % total), list(Split).index(split)))
    missing = cap - sum(floors.values())
    return {split: floors[split] + (split in order[:missing]) for split in counts}


def _count_dropped(reason: str, left_out: dict[str, int], before: int, kept: DataFrame) -> int:
    after = kept.count()
    if before > after:
        left_out[reason] = before - after
    return after


def _with_sizes(samples: DataFrame, uploads: DataFrame) -> DataFrame:
    """Add `pixels` and `sharpness` of the original upload."""
    sizes = uploads.where("verdict = 'accepted'").select(
        "image_id",
        "upload_id",
        (f.col("width").cast("long") * f.col("height")).alias("pixels"),
        f.col("metrics.sharpness").alias("sharpness"),
    )
    return samples.join(sizes, ["image_id", "upload_id"], "left")


def _best_copy() -> list[Column]:
    """Order of the images of a group: largest, sharpest, fewest flags."""
    return [
        f.desc_nulls_last("pixels"), f.desc_nulls_last("sharpness"), f.size("flags").asc(), f.asc("image_id")
    ]  # fmt: skip


def _capped(samples: DataFrame, cap: int) -> DataFrame:
    """At most `cap` images of each label: the most certain labels, fewest flags, sharpest."""
    counts: dict[str, dict[Split, int]] = {}
    for row in samples.groupBy("label", "split").count().collect():
        counts.setdefault(row.label, {})[Split(row.split)] = row["count"]
    rows = [
        (label, split.value, quota)
        for label, by_split in counts.items()
        for split, quota in quotas(by_split, cap).items()
    ]
    if not rows:
        return samples
    limits = samples.sparkSession.createDataFrame(rows, "label string, split string, quota long")
    best = [
        f.desc_nulls_last("label_quality"), f.size("flags").asc(), f.desc_nulls_last("sharpness"),
        f.asc("image_id"),
    ]  # fmt: skip
    nth = f.row_number().over(Window.partitionBy("label", "split").orderBy(*best))
    ranked = samples.withColumn("nth", nth).join(f.broadcast(limits), ["label", "split"])
    return ranked.where("nth <= quota").drop("nth", "quota")
