"""The newest micro-batch of each streaming query in a table: Delta's application transactions."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from py4j.protocol import Py4JError
from pyspark.sql import SparkSession

from conf.sections import Lake
from lake import tables
from lake.table import Table

# For queries over a few hundred rows, which take longer to plan than to run: they halve the CPU time.
_SMALL_QUERY_PROPERTIES = {
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.databricks.delta.snapshotPartitions": "1",
}


@contextmanager
def prefetch(spark: SparkSession, lake: Lake, *names: Table) -> Iterator[None]:
    """While the block runs, prefetch the table state that Delta needs for the next `tables.write_once`.

    To find out whether a micro-batch was committed before, Delta 4.4 computes the table's whole state in
    Spark jobs: two thirds of the time of a small commit (docs/measurements/micro-batch-latency.md).
    """
    with ThreadPoolExecutor(len(names)) as pool:
        for name in names:
            pool.submit(_prefetch, spark, lake, name)
        yield


def _prefetch(spark: SparkSession, lake: Lake, table: Table) -> None:
    with suppress(Py4JError):  # the commit raises the same error
        _transactions(spark, lake, table)


def _transactions(spark: SparkSession, lake: Lake, table: Table) -> Any:
    """A Scala map of query names to their newest batch. Changes the active session of the calling thread."""
    session = spark._jsparkSession.newSession()
    for name, value in _SMALL_QUERY_PROPERTIES.items():
        session.conf().set(name, value)
    tables.jvm_class(spark, "org.apache.spark.sql.classic.SparkSession").setActiveSession(session)
    return tables.delta_snapshot(spark, lake, table).transactions()


def last_batch(spark: SparkSession, lake: Lake, table: Table, query: str) -> int:
    """The newest batch of a streaming query that `tables.write_once` has committed; -1 for none."""
    with ThreadPoolExecutor(1) as pool:
        batch = pool.submit(_transactions, spark, lake, table).result().get(query)
    return int(batch.get()) if batch.isDefined() else -1
