import pytest
from pyspark.sql import SparkSession

from organize.duplicates.perceptual_hash import with_duplicate_group

pytestmark = pytest.mark.services


def test_remembered_groups_stay_and_images_not_compared_yet_join_them_by_hash(spark: SparkSession) -> None:
    rows = [
        ("a", 0b0, "g-1"), ("b", 0b1, "g-2"), ("c", 0b11, None), ("d", -1, None), ("e", -2, "d"),
        ("f", 7 * 2**40, None),
    ]  # fmt: skip
    samples = spark.createDataFrame(rows, "image_id string, phash long, was_duplicate_group string")
    found = {row.image_id: row.duplicate_group for row in with_duplicate_group(samples, 1).collect()}
    assert found == {"a": "g-1", "b": "g-2", "c": "g-1", "d": "d", "e": "d", "f": "f"}
    known = with_duplicate_group(samples.where("image_id < 'c'"), 1).collect()
    assert {row.image_id: row.duplicate_group for row in known} == {"a": "g-1", "b": "g-2"}
