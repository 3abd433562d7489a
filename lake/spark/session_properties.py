"""Spark session properties that are set only while certain queries run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pyspark.sql import SparkSession

# Code generation pays off for queries that process many rows in the JVM. The hub's queries pass pictures to
# Python, or are small and different for each commit (docs/decisions/008-ingestion-tuning.md).
NO_CODEGEN = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}

# For those queries of an ingestion that process all rows of a micro-batch in the JVM.
CODEGEN = {"spark.sql.codegen.factoryMode": "FALLBACK"}

# Rows that are cached until a commit are mostly pictures, and are dropped after seconds: compressing the
# other columns takes longer than it saves on reading.
PLAIN_CACHE = {"spark.sql.inMemoryColumnarStorage.compressed": "false"}


def arrow_batch_limits(records: int, max_bytes: int) -> dict[str, str]:
    """Properties that limit the records and the bytes of Arrow batches for Python workers."""
    return {
        "spark.sql.execution.arrow.maxRecordsPerBatch": str(records),
        "spark.sql.execution.arrow.maxBytesPerBatch": str(max_bytes),
    }


@contextmanager
def temporary_properties(spark: SparkSession, values: Mapping[str, str]) -> Iterator[None]:
    """Set properties while the block runs, then restore the previous values."""
    before = spark.conf.getAll
    for name, value in values.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name in values:
            if name in before:
                spark.conf.set(name, before[name])
            else:
                spark.conf.unset(name)
