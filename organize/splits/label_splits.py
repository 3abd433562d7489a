"""Splits by label: all pictures of a label are in one split, so training sees no label of the test split."""

from collections.abc import Mapping

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as f

from lake.snapshot import Split


def with_label_split(samples: DataFrame, splits: Mapping[str, Split]) -> DataFrame:
    """Set `split` to that of the label.

    Near duplicates with labels of several splits would show training a test picture: of their group only
    those in the first of these splits are kept.

    Args:
        samples: with image_id, label and duplicate_group.
        splits: label to its split; samples of other labels are left out.
    """
    order = list(Split)
    rows = [(label, split.value, order.index(split)) for label, split in splits.items()]
    names = samples.sparkSession.createDataFrame(rows, "label string, split string, place int")
    group = f.coalesce("duplicate_group", "image_id")  # a sample without a group is a group of its own
    first = f.min("place").over(Window.partitionBy(group))
    return (
        samples.drop("split")
        .join(f.broadcast(names), "label")
        .withColumn("first", first)
        .where("place = first")
        .drop("place", "first")
    )
