"""The samples that a label check compares with each other."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f

from conf.settings import Settings
from lake import tables
from lake.label_slug import label_slug
from lake.schemas import LABEL_CONFLICT, NONE_OF_THESE
from lake.table import Table
from organize.errors import NothingToCheck


@dataclass(frozen=True)
class Judged:
    """Samples whose labels are compared with each other.

    Args:
        rows: their positions in the table of samples.
        image_ids, labels, groups, decided: of these samples; labels as indices.
        names: of the labels, sorted.
        not_judged: reason to number of other samples, and of those that a person decided about.
    """

    rows: NDArray[np.int64]
    image_ids: NDArray[np.str_]
    labels: NDArray[np.int64]
    groups: NDArray[np.str_]
    decided: NDArray[np.bool_]
    names: tuple[str, ...]
    not_judged: dict[str, int]


def read_samples(spark: SparkSession, settings: Settings) -> DataFrame:
    """All samples: image_id, label, decided, excluded, conflict, scored (bool) and group."""
    return tables.read_complete(spark, settings.lake, Table.SAMPLES).select(
        "image_id",
        "label",
        (f.coalesce("label_source", f.lit("claimed")) != "claimed").alias("decided"),
        _has_flag(NONE_OF_THESE).alias("excluded"),
        _has_flag(LABEL_CONFLICT).alias("conflict"),
        f.coalesce("duplicate_group", "image_id").alias("group"),
        f.col("label_quality").isNotNull().alias("scored"),
    )


def _has_flag(flag: str) -> Column:
    return f.coalesce(f.array_contains("flags", flag), f.lit(False))


def judged_samples(samples: DataFrame | pa.Table, settings: Settings) -> Judged:
    """Choose the samples whose labels are judged, in the order of their ids.

    Raises:
        NothingToCheck: fewer than two labels have enough images.
    """
    table = samples.toArrow() if isinstance(samples, DataFrame) else samples
    table = table.take(pc.sort_indices(table, [("image_id", "ascending")]))
    columns = {name: np.asarray(table[name].to_pylist()) for name in table.column_names}
    flagged = columns["conflict"].astype(bool) | columns["excluded"].astype(bool)
    candidates = ~flagged & ~is_unknown(columns["label"], settings)
    smallest = max(settings.checks.folds, settings.checks.deep_folds, settings.checks.min_images)
    names = _judged_labels(columns["label"], columns["group"], candidates, smallest)
    if len(names) < 2:
        raise NothingToCheck(
            f"{len(names)} label(s) have {smallest} images that are no near duplicates of each other: a "
            "check compares at least two such labels; push more pictures, or set HUB__CHECKS__MIN_IMAGES"
        )
    chosen = candidates & np.isin(columns["label"], names)
    decided = columns["decided"].astype(bool)
    reasons = {
        "decided by a person": int(decided.sum()),
        "too few images of the label": int((candidates & ~chosen & ~decided).sum()),
    }
    return Judged(
        rows=np.flatnonzero(chosen),
        image_ids=columns["image_id"][chosen],
        labels=np.searchsorted(names, columns["label"][chosen]),
        groups=columns["group"][chosen],
        decided=decided[chosen],
        names=tuple(map(str, names)),
        not_judged={reason: count for reason, count in reasons.items() if count},
    )


def is_unknown(labels: NDArray[np.str_], settings: Settings) -> NDArray[np.bool_]:
    """Which labels say nothing (`checks.unknown_labels`)."""
    return np.isin(labels, [label_slug(name) for name in settings.checks.unknown_labels])


def _judged_labels(
    labels: NDArray[np.str_], groups: NDArray[np.str_], candidates: NDArray[np.bool_], smallest: int
) -> NDArray[np.str_]:
    """The labels that have candidates in enough groups, sorted."""
    pairs = set(zip(labels[candidates].tolist(), groups[candidates].tolist(), strict=True))
    sizes = Counter(label for label, _ in pairs)
    return np.array(sorted(label for label, size in sizes.items() if size >= smallest), dtype=np.str_)
