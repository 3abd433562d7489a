"""What Spark is told for the queries of an ingestion, and for nothing else that runs in the same session."""

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import SparkSession

from conf.sections import Ingest


@contextmanager
def tuned(spark: SparkSession, ingest: Ingest) -> Iterator[None]:
    """Set the properties; what they were before comes back.

    Generated code pays for queries over many rows. Here each commit runs small ones that differ
    from the last commit's: generating, compiling and optimizing code for them was a third of a micro-batch of
    8 pictures and a quarter of all processor time in the first minutes (docs/decisions/008).
    """
    properties = {
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.execution.arrow.maxRecordsPerBatch": str(ingest.arrow_records),
        "spark.sql.execution.arrow.maxBytesPerBatch": str(ingest.arrow_bytes),
    }
    before = spark.conf.getAll
    for name, value in properties.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name in properties:
            if name in before:
                spark.conf.set(name, before[name])
            else:
                spark.conf.unset(name)
