"""Splits of samples on Spark: the same as the pure functions give, whatever happened before."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest
from pyspark.sql import DataFrame, SparkSession

from conf.choices import KeepTogether
from conf.organize_section import Organize
from conf.settings import Settings
from lake.erasure.erased_ids import split_key
from lake.snapshot import Split
from organize.splits.balance import Unit, kept_split, split_units
from organize.splits.components import components
from organize.splits.remembered import IN_ANOTHER_SPLIT, with_splits

pytestmark = pytest.mark.services

_SCHEMA = (
    "image_id string, duplicate_group string, label string, user string, flags array<string>, split string"
)
Row = tuple[str, str | None, str, str, list[str], str | None]


def frame(spark: SparkSession, rows: Sequence[Row]) -> DataFrame:
    return spark.createDataFrame(list(rows), _SCHEMA)


def nothing_erased(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame([], "key string, split string")


def _a_lake(rng: random.Random) -> list[Row]:
    """Images of which some have splits, groups in several splits, unusable ones, and ones without a group."""
    rows: list[Row] = []
    for number in range(120):
        group = None if rng.random() < 0.2 else f"g{rng.randrange(60)}"
        flags = ["label_conflict"] if rng.random() < 0.1 else ["dark"]
        split = rng.choice([*Split, None, None])
        rows.append((f"{number:04}", group, rng.choice("ab"), f"u{rng.randrange(90)}", flags, split))
    return rows


def expected_splits(rows: Sequence[Row], config: Organize) -> dict[str, Split]:
    """Image to the split of its unit, by the pure functions."""
    group = {image: name or image for image, name, *_ in rows}
    if config.keep_together:
        component = components((group[row[0]], row[3]) for row in rows)
        group = {image: component[name] for image, name in group.items()}
    units: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows):
        units[group[row[0]]].append(row)
    made = {}
    for name, members in units.items():
        remembered: dict[Split, int] = defaultdict(int)
        for *_, split in members:
            if split:
                remembered[Split(split)] += 1
        kept, labels = kept_split(remembered), dict[str, int]()
        for _, _, label, _, flags, split in members:
            if "label_conflict" not in flags and split in (None, kept):
                labels[label] = labels.get(label, 0) + 1
        made[name] = Unit(members[0][0], labels, remembered)
    given = split_units(made.values(), config.fractions, config.seed)
    return {image: given[made[name].key] for image, name in group.items() if made[name].key in given}


@pytest.mark.parametrize("together", [(), (KeepTogether.USER,)])
def test_spark_gives_the_splits_of_the_pure_functions(
    spark: SparkSession, settings: Settings, together: tuple[KeepTogether, ...]
) -> None:
    config = settings.organize.model_copy(update={"keep_together": together})
    rows = _a_lake(random.Random(5))
    found = with_splits(frame(spark, rows), nothing_erased(spark), config).collect()
    before = {row[0]: row[5] for row in rows}
    expected = expected_splits(rows, config)
    assert {row.image_id: row.unit_split for row in found if row.unit_split} == expected
    assert all(row.was_split == before[row.image_id] for row in found)
    assert all(row.split == (before[row.image_id] or expected.get(row.image_id)) for row in found)
    again = with_splits(frame(spark, rows).repartition(5), nothing_erased(spark), config)
    assert {(row.image_id, row.split) for row in again.collect()} == {(r.image_id, r.split) for r in found}


def test_the_chosen_images_are_balanced_and_so_are_all(spark: SparkSession, settings: Settings) -> None:
    """As a dataset of good labels only: what it leaves out must not take the places in its splits."""
    rng = random.Random(7)
    rows: list[Row] = [
        (f"{number:04}", None, rng.choice("ab"), "good" if rng.random() < 0.4 else "bad", [], None)
        for number in range(400)
    ]
    config = settings.organize
    found = with_splits(frame(spark, rows), nothing_erased(spark), config, "user = 'good'").collect()
    for users in (["good"], ["good", "bad"]):
        for label in "ab":
            splits = Counter(row.split for row in found if row.label == label and row.user in users)
            for split, share in zip(Split, config.fractions, strict=True):
                assert abs(splits[split] - share * splits.total()) <= 1, (users, label, splits)


def test_the_smaller_side_of_a_merge_is_marked_and_new_images_join_the_larger(
    spark: SparkSession, settings: Settings
) -> None:
    rows: list[Row] = [
        ("0001", "g", "a", "u", [], "test"),
        ("0002", "g", "a", "u", [], "train"),
        ("0003", "g", "a", "u", [], "train"),
        ("0004", "g", "a", "u", [], None),
    ]
    known = with_splits(frame(spark, rows), nothing_erased(spark), settings.organize)
    assert {row.image_id: row.split for row in known.collect()} == {
        "0001": "test", "0002": "train", "0003": "train", "0004": "train",
    }  # fmt: skip
    assert [row.image_id for row in known.where(IN_ANOTHER_SPLIT).collect()] == ["0001"]


def test_an_erased_image_that_is_uploaded_again_gets_its_split_back(
    spark: SparkSession, settings: Settings
) -> None:
    rows: list[Row] = [(f"{n:04}", None, "a", "u", [], None) for n in range(10)]
    erased = spark.createDataFrame(
        [(split_key(f"{n:04}"), "test") for n in range(4)], "key string, split string"
    )
    known = with_splits(frame(spark, rows), erased, settings.organize)
    splits = {row.image_id: row.split for row in known.collect()}
    assert [splits[f"{n:04}"] for n in range(4)] == ["test"] * 4
    assert sorted(splits[f"{n:04}"] for n in range(4, 10)) == ["train"] * 6
