"""Splits of samples: each image keeps the split that it was given first; new units get balanced ones."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f

from conf.organize_section import Organize
from lake.erasure.erased_ids import split_key
from lake.schemas import USABLE
from lake.snapshot import Split
from organize.splits.balance import Unit, assign
from organize.splits.components import UNIT, with_unit

# Condition for samples that are in another split than their unit, whose images were assigned before they met.
IN_ANOTHER_SPLIT = "split <> unit_split"


def with_splits(samples: DataFrame, erased: DataFrame, config: Organize) -> DataFrame:
    """Add `unit` and `unit_split`, and set `split` where it is null; the old value is kept as `was_split`.

    An image with a split keeps it. Other images of the unit get the split of its most images. If no image of
    a unit has a split, it gets one that balances the labels (`organize.splits.balance`).

    Args:
        samples: of the lake, all of them: units of labels that no dataset has count, too.
        erased: splits of erased images, which may be uploaded again: `key` and `split`.
        config: fractions, seed and what stays together.
    """
    known = with_unit(_with_erased(samples, erased), config.keep_together)
    units = known.groupBy(UNIT).agg(
        f.min("image_id").alias("key"), *(_count(split).alias(split.value) for split in Split)
    )
    joined = known.join(units.select(UNIT, "key", _kept_split().alias("kept")), UNIT)
    usable = joined.where(USABLE).where("label IS NOT NULL")
    fresh = _assign(usable.where("kept IS NULL OR split IS NULL OR split = kept"), config)
    return (
        joined.join(fresh, UNIT, "left")
        .withColumn("unit_split", f.coalesce("kept", "fresh"))
        .withColumn("split", f.coalesce("split", "unit_split"))
        .drop("key", "kept", "fresh")
    )


def _with_erased(samples: DataFrame, erased: DataFrame) -> DataFrame:
    known = samples.withColumn("was_split", f.col("split"))
    if erased.isEmpty():
        return known

    @f.udf("string", useArrow=True)
    def key(image_id: str) -> str:
        return split_key(image_id)

    again = known.where("split IS NULL").select("image_id", key("image_id").alias("key"))
    before = again.join(erased.select("key", f.col("split").alias("before")), "key").drop("key")
    joined = known.join(before, "image_id", "left")
    return joined.withColumn("split", f.coalesce("split", "before")).drop("before")


def _count(split: Split) -> Column:
    return f.count_if(f.col("split") == split.value)


def _kept_split() -> Column:
    """As `balance.kept_split`: the split of most images, the first of `Split` if equal, or null."""
    most = f.greatest(*(f.col(split.value) for split in Split))
    return f.when(most > 0, f.coalesce(*(f.when(f.col(split.value) == most, split.value) for split in Split)))


def _assign(usable: DataFrame, config: Organize) -> DataFrame:
    """Splits of new units.

    Args:
        usable: samples that datasets may contain, with `kept`: null in new units.

    Returns:
        `unit` and `fresh`, each unit once.
    """
    is_new = f.col("kept").isNull()
    names = [f.when(is_new, f.col(name)).alias(name) for name in (UNIT, "key")]
    # One job: new units one by one, all others as counts of labels and splits.
    rows = usable.select(*names, "label", "kept").groupBy(UNIT, "key", "label", "kept").count().toArrow()
    counts: dict[str, dict[Split, int]] = {}
    labels: dict[str, dict[str, int]] = {}
    units: dict[str, str] = {}
    for unit, key, label, kept, images in zip(*(column.to_pylist() for column in rows.columns), strict=True):
        if kept is None:
            units[key] = unit
            labels.setdefault(key, {})[label] = images
        else:
            counts.setdefault(label, {})[Split(kept)] = images
    new = [Unit(key, by_label, {}) for key, by_label in labels.items()]
    fresh = assign(new, counts, config.fractions, config.seed)
    found = [(units[key], split.value) for key, split in fresh.items()]
    return usable.sparkSession.createDataFrame(found, "unit string, fresh string")
