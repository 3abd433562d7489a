"""Describes pictures in one pass: embedding, print, and all else that is computed of their pixels.

Many pictures are described in Spark's Python workers, one core each. A few are described in this process: to
start a worker takes longer.
"""

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema

from lake.spark import python_workers
from lake.spark.session_properties import arrow_batch_limits, temporary_properties

Describe = Callable[[pa.RecordBatch], pa.RecordBatch]
"""Adds columns that are computed of the encoded pictures in `jpeg`; all other columns stay.

For a batch without rows it gives the names and types of the columns, and loads nothing.
"""

FEW = 64
"""Pictures that are described in this process, at most, and fewest of a Spark task."""

_ARROW_RECORDS = 256  # pictures of an Arrow batch, so that their pixels (12 MB at 128 px) fit into memory
_ARROW_BYTES = 16 * 2**20


def describe_here(pictures: pa.Table, steps: Sequence[Describe]) -> pa.Table:
    """Describe a few pictures in this process; the result has no column `jpeg`."""
    described = [_described(batch, steps) for batch in pictures.to_batches() if batch.num_rows]
    empty = _described(_empty(pictures.schema), steps)
    return pa.Table.from_batches(described, empty.schema)


def describe_on_spark(pictures: DataFrame, steps: Sequence[Describe], count: int) -> pa.Table:
    """Describe pictures on Spark; the result has no column `jpeg`, and is collected.

    Args:
        pictures: with `jpeg`.
        steps: that can be pickled.
        count: approximate number of pictures, by which they are divided among the cores.
    """
    spark = pictures.sparkSession
    tasks = max(1, min(2 * spark.sparkContext.defaultParallelism, count // FEW))
    empty = _described(_empty(to_arrow_schema(pictures.schema, timezone="UTC")), steps)

    def describe(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if batch.num_rows:
                described = _described(batch, steps)
                python_workers.freeze_gc()
                yield described

    with temporary_properties(spark, arrow_batch_limits(_ARROW_RECORDS, _ARROW_BYTES)):
        rows = pictures.repartition(tasks).mapInArrow(describe, from_arrow_schema(empty.schema))
        return rows.toArrow()


def _described(batch: pa.RecordBatch, steps: Sequence[Describe]) -> pa.RecordBatch:
    for step in steps:
        batch = step(batch)
    return batch.drop_columns("jpeg")


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=schema)


def with_column(batch: pa.RecordBatch, name: str, column: pa.Array) -> pa.RecordBatch:
    """The batch with a column in the place of the one of this name, or with one more."""
    if name in batch.schema.names:
        return batch.set_column(batch.schema.get_field_index(name), name, column)
    return batch.append_column(name, column)
