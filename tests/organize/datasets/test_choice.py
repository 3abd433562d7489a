"""Choosing the samples of a dataset on Spark: conditions, flags, quality, copies, caps, reasons."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as t

from conf.choices import SplitBy
from conf.settings import Settings
from lake.errors import BadQuery, NothingToOrganize
from lake.schemas import SAMPLES, UPLOADS
from organize.datasets.choice import Choice, choose, eligible_counts, with_matches, with_reason
from organize.datasets.selection import Selection

pytestmark = pytest.mark.services


def lake(spark: SparkSession, rows: Sequence[dict[str, Any]]) -> tuple[DataFrame, DataFrame]:
    """Samples and uploads of images; a row has what differs from an image of its own in training."""
    samples, uploads = [], []
    for number, row in enumerate(rows):
        image = {"image_id": f"{number:04}", "upload_id": f"u{number}"}
        sample = image | {"label": "cat", "flags": [], "split": "train", "unit_split": "train"} | row
        samples.append([sample.get(name) for name in (*SAMPLES.names, "unit_split")])
        upload = image | {"verdict": "accepted", "width": 100, "height": 100} | row
        metrics = (100.0, float(row.get("sharpness", 50)), 7.0, 40.0, 1.0)
        uploads.append([metrics if name == "metrics" else upload.get(name) for name in UPLOADS.names])
    schema = t.StructType([*SAMPLES.fields, t.StructField("unit_split", t.StringType())])
    return (
        spark.createDataFrame(samples, schema),
        spark.createDataFrame(uploads, UPLOADS),
    )


def chosen(
    spark: SparkSession,
    settings: Settings,
    rows: Sequence[dict[str, Any]],
    selection: Selection,
    labels: Sequence[str] = ("cat", "dog"),
) -> Choice:
    samples, uploads = lake(spark, rows)
    judged = with_reason(with_matches(samples, selection.where), selection)
    return choose(judged, list(labels), selection, settings.organize, uploads)


def ids(choice: Choice) -> list[int]:
    return sorted(int(row.image_id) for row in choice.samples.collect())


def test_every_image_is_chosen_or_has_one_reason(spark: SparkSession, settings: Settings) -> None:
    rows: list[dict[str, Any]] = [
        {"user": "ann"},
        {"user": "bob"},
        {"flags": ["label_conflict", "dark"], "user": "ann"},
        {"flags": ["none_of_these"], "user": "ann"},
        {"flags": ["blurry"], "user": "ann"},
        {"label": "owl", "user": "ann"},
        {"label_quality": 0.1, "user": "ann"},
        {"label_quality": 0.9, "user": "ann"},
        {"split": "test", "user": "ann"},  # its unit is in train
        {},  # the condition is neither true nor false
    ]
    selection = Selection(where="user = 'ann'", without_flags=("blurry", "dark"), min_label_quality=0.5)
    made = chosen(spark, settings, rows, selection)
    assert ids(made) == [0, 7]
    assert made.left_out == {
        "flag_blurry": 1,
        "group_in_another_split": 1,
        "label_conflict": 1,
        "label_not_chosen": 1,
        "label_quality": 1,
        "none_of_these": 1,
        "where_not_met": 2,
    }


def test_labels_are_counted_after_the_condition(spark: SparkSession) -> None:
    samples, _ = lake(spark, [{"user": "ann"}, {"user": "bob"}, {"user": "ann", "label": "dog"}])
    selection = Selection(where="user = 'bob'")
    assert eligible_counts(with_reason(with_matches(samples, selection.where), selection)) == {"cat": 1}


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("user = ", "PARSE_SYNTAX_ERROR"),
        ("colour = 'red'", "`colour` cannot be resolved"),
        ("label", "is string, not true or false"),
        ("count(*) > 1", "INVALID_WHERE_CONDITION"),
        ("rand() < 0.5", "is random"),
        ("true; DROP TABLE samples", "PARSE_SYNTAX_ERROR"),
        ("nothing(label)", "UNRESOLVED_ROUTINE"),
    ],
)
def test_a_condition_that_cannot_be_used_is_one_line(spark: SparkSession, where: str, message: str) -> None:
    samples, _ = lake(spark, [{}])
    with pytest.raises(BadQuery) as caught:
        with_matches(samples, where)
    text = str(caught.value)
    assert message in text and f"--where {where!r}" in text and "\n" not in text
    assert caught.value.exit_status == 2


def test_the_best_copy_of_a_group_is_largest_then_sharpest_then_has_fewest_flags(
    spark: SparkSession, settings: Settings
) -> None:
    size = {"width": 200, "height": 200}
    rows: list[dict[str, Any]] = [
        {"duplicate_group": "a"},
        {"duplicate_group": "a", **size},
        {"duplicate_group": "b", **size, "sharpness": 10},
        {"duplicate_group": "b", **size, "sharpness": 90},
        {"duplicate_group": "c", "flags": ["dark"]},
        {"duplicate_group": "c"},
        {},
        {},
    ]
    made = chosen(spark, settings, rows, Selection(best_of_group=True))
    assert ids(made) == [1, 3, 5, 6, 7]
    assert made.left_out == {"not_best_of_group": 3}


def test_a_cap_keeps_the_best_of_each_label_in_each_split(spark: SparkSession, settings: Settings) -> None:
    rows: list[dict[str, Any]] = [
        {"split": split, "unit_split": split, "label_quality": (number % 10) / 10, "label": label}
        for label, images in (("cat", 40), ("dog", 5))
        for number, split in zip(range(images), ["train"] * 30 + ["test"] * 10, strict=False)
    ]
    made = chosen(spark, settings, rows, Selection(cap=8))
    found = [(row.label, row.split, round(row.label_quality, 1)) for row in made.samples.collect()]
    assert Counter((label, split) for label, split, _ in found) == {
        ("cat", "train"): 6, ("cat", "test"): 2, ("dog", "train"): 5,
    }  # fmt: skip
    assert sorted(quality for label, split, quality in found if (label, split) == ("cat", "test")) == [
        0.8,
        0.9,
    ]
    assert made.left_out == {"over_cap": 32}
    again = chosen(spark, settings, rows, Selection(cap=8))
    assert ids(again) == ids(made)


def test_nothing_left_is_one_line_with_the_reasons(spark: SparkSession, settings: Settings) -> None:
    rows: list[dict[str, Any]] = [{"flags": ["dark"]}, {"flags": ["dark"]}, {"label": "owl"}]
    with pytest.raises(NothingToOrganize, match=r"no image is left .*2 flag_dark, 1 label_not_chosen"):
        chosen(spark, settings, rows, Selection(without_flags=("dark",)))


def test_with_a_split_by_label_remembered_splits_leave_nothing_out(
    spark: SparkSession, settings: Settings
) -> None:
    plan = settings.organize.model_copy(update={"split_by": SplitBy.LABEL})
    rows = [{"label": label, "split": "test"} for label in "abcdef" for _ in range(2)]
    made = chosen(spark, settings.model_copy(update={"organize": plan}), rows, Selection(), tuple("abcdef"))
    assert len(ids(made)) == 12 and made.left_out == {}
