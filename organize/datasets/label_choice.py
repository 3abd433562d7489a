"""Which labels a dataset has."""

from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession

from conf.settings import Settings
from lake import tables
from lake.errors import NothingToOrganize
from lake.label_hierarchy import Hierarchy
from lake.table import Table
from organize.datasets.choice import eligible_counts


def _hierarchy(spark: SparkSession, settings: Settings) -> Hierarchy:
    """The labels of the file, and those that only the table has."""
    rows = tables.read_complete(spark, settings.lake, Table.LABELS).select("label", "parent").collect()
    return Hierarchy.read(settings.labels.file).with_parents({row.label: row.parent for row in rows})


def choose_labels(samples: DataFrame, requested: Sequence[str], settings: Settings) -> list[str]:
    """The labels of a dataset: the requested ones and those below them, or all with enough images.

    Args:
        samples: with `reason`.
        requested: slugs; empty for all ready labels.

    Raises:
        NothingToOrganize: there is no image of a label, or no label has enough.
    """
    counts = eligible_counts(samples)
    if not counts:
        reasons = samples.groupBy("reason").count().collect()
        found = ", ".join(sorted(f"{row['count']:,} {row.reason}" for row in reasons))
        raise NothingToOrganize(f"no image can be chosen ({found}): choose less strictly")
    ready_images = settings.labels.ready_images
    hierarchy = _hierarchy(samples.sparkSession, settings) if requested else Hierarchy({})
    chosen: set[str] = set()
    for name in requested:
        below = set(hierarchy.expand([name])).intersection(counts)
        if not below:
            known = ", ".join(sorted(counts)[:20])
            raise NothingToOrganize(f"no images of label {name!r}; there are {known}")
        chosen |= below
    if not requested:
        chosen = {label for label, count in counts.items() if count >= ready_images}
    if not chosen:
        best = max(counts, key=lambda label: counts[label])
        raise NothingToOrganize(
            f"no label has {ready_images} images yet; the largest, {best!r}, has {counts[best]}: "
            "give labels with --labels, or set HUB__LABELS__READY_IMAGES"
        )
    return sorted(chosen)
