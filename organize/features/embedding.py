"""Embedding pictures on Spark, in Python workers, one core each."""

from collections.abc import Callable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import types as t

from lake.spark import python_workers
from organize.features.network_file import NetworkFile
from organize.features.vectors import STORED

ARROW_RECORDS = 256  # pictures of an Arrow batch, so that their pixels (12 MB at 128 px) fit into memory
_TASK_PICTURES = 64  # fewer are not worth a second task, which may have to start a Python worker


def with_vectors(pictures: DataFrame, file: NetworkFile, count: int) -> DataFrame:
    """Add the column `vector` to pictures, as in `embeddings`: null if the picture cannot be decoded.

    Set `lake.spark.session_properties.arrow_batch_limits(ARROW_RECORDS, …)` while it runs.

    Args:
        pictures: with an encoded picture in `jpeg`; all columns stay.
        file: of the embedder.
        count: approximate number of pictures, by which they are divided among the cores.
    """
    cores = pictures.sparkSession.sparkContext.defaultParallelism
    tasks = max(1, min(2 * cores, count // _TASK_PICTURES))
    schema = t.StructType([*pictures.schema, t.StructField("vector", t.BinaryType())])
    return pictures.repartition(tasks).mapInArrow(_embedder(file), schema)


def _embedder(file: NetworkFile) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def embed(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from organize.features import network

        own = None
        for batch in batches:
            own = own or network.load(file)
            python_workers.freeze_gc()
            vectors = own.embed_encoded(batch["jpeg"].to_pylist())
            column = [None if vector is None else vector.astype(STORED).tobytes() for vector in vectors]
            arrays = [*batch.columns, pa.array(column, pa.binary())]
            yield pa.RecordBatch.from_arrays(arrays, names=[*batch.schema.names, "vector"])

    return embed
