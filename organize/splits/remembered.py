"""Splits of samples: each image keeps the split that it was given first; new units get balanced ones."""

from collections import Counter
from dataclasses import dataclass, field

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
_CHOSEN = "chosen"


def with_splits(samples: DataFrame, erased: DataFrame, config: Organize, chosen: str = "TRUE") -> DataFrame:
    """Add `unit` and `unit_split`, and set `split` where it is null; the old value is kept as `was_split`.

    An image with a split keeps it. Other images of the unit get the split of its most images. If no image of
    a unit has a split, it gets one that balances the labels (`organize.splits.balance`): first the units with
    chosen images, so that these are balanced, then all others, so that the lake is.

    Args:
        samples: of the lake, all of them: units of labels that no dataset has count, too.
        erased: splits of erased images, which may be uploaded again: `key` and `split`.
        config: fractions, seed and what stays together.
        chosen: SQL condition on the images that the next dataset may contain.
    """
    known = with_unit(_with_erased(samples, erased), config.keep_together)
    units = known.groupBy(UNIT).agg(
        f.min("image_id").alias("key"), *(_count(split).alias(split.value) for split in Split)
    )
    joined = known.join(units.select(UNIT, "key", _kept_split().alias("kept")), UNIT)
    usable = joined.where(USABLE).where("label IS NOT NULL")
    usable = usable.where("kept IS NULL OR split IS NULL OR split = kept")
    fresh = _assign(usable.withColumn(_CHOSEN, f.expr(chosen)), config)
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
        usable: samples that datasets may contain, with `chosen`, and `kept`: null in new units.

    Returns:
        `unit` and `fresh`, each unit once.
    """
    is_new = f.col("kept").isNull()
    names = [f.when(is_new, f.col(name)).alias(name) for name in (UNIT, "key")]
    # One job: new units one by one, all others as counts of labels and splits.
    columns = [UNIT, "key", "label", "kept", _CHOSEN]
    rows = usable.select(*names, *columns[2:]).groupBy(*columns).count().toArrow()
    found, units = _Found(), dict[str, str]()
    for unit, key, label, kept, chosen, images in zip(
        *(column.to_pylist() for column in rows.columns), strict=True
    ):
        if kept is None:
            units[key] = unit
            found.add_new(key, label, images, chosen)
        else:
            found.add(label, Split(kept), images, chosen)
    fresh = [(units[key], split.value) for key, split in found.assign(config).items()]
    return usable.sparkSession.createDataFrame(fresh, "unit string, fresh string")


@dataclass(frozen=True)
class _Found:
    """Images by label: of new units by key, and of others by split; of both the chosen ones and all."""

    new_chosen: dict[str, Counter[str]] = field(default_factory=dict)
    new: dict[str, Counter[str]] = field(default_factory=dict)
    counts_chosen: dict[str, Counter[Split]] = field(default_factory=dict)
    counts: dict[str, Counter[Split]] = field(default_factory=dict)

    def add_new(self, key: str, label: str, images: int, chosen: bool) -> None:
        self.new.setdefault(key, Counter())[label] += images
        if chosen:
            self.new_chosen.setdefault(key, Counter())[label] += images

    def add(self, label: str, split: Split, images: int, chosen: bool) -> None:
        self.counts.setdefault(label, Counter())[split] += images
        if chosen:
            self.counts_chosen.setdefault(label, Counter())[split] += images

    def assign(self, config: Organize) -> dict[str, Split]:
        """The split of each new unit."""
        first = [Unit(key, labels, {}) for key, labels in self.new_chosen.items()]
        assigned = assign(first, self.counts_chosen, config.fractions, config.seed)
        for key, split in assigned.items():
            for label, images in self.new[key].items():
                self.counts.setdefault(label, Counter())[split] += images
        others = [Unit(key, labels, {}) for key, labels in self.new.items() if key not in assigned]
        return assigned | assign(others, self.counts, config.fractions, config.seed)
