"""Properties of a Spark session that hold for some of its queries and for nothing else that runs in it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pyspark.sql import SparkSession

# Generated code pays for queries that work on many rows in the JVM. The hub's either hand pictures to Python
# or are small and differ from the last commit's (docs/decisions/008).
NO_CODEGEN = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}

# For those of an ingestion's queries that work on all of a micro-batch's rows in the JVM.
CODEGEN = {"spark.sql.codegen.factoryMode": "FALLBACK"}

# Rows that are cached until a commit are pictures mostly, and gone in seconds: looking for what could be
# compressed about the rest takes longer than reading it again.
PLAIN_CACHE = {"spark.sql.inMemoryColumnarStorage.compressed": "false"}


def arrow(records: int, size: int) -> dict[str, str]:
    """Of batches that Python workers are handed: records and bytes at most."""
    return {
        "spark.sql.execution.arrow.maxRecordsPerBatch": str(records),
        "spark.sql.execution.arrow.maxBytesPerBatch": str(size),
    }


@contextmanager
def properties(spark: SparkSession, values: Mapping[str, str]) -> Iterator[None]:
    """Set properties; what they were before comes back."""
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
