"""Delta tables of the lake: made where missing, read, and changed by key."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Literal

from delta.exceptions import (
    ConcurrentAppendException,
    ConcurrentDeleteDeleteException,
    ConcurrentDeleteReadException,
    ConcurrentWriteException,
)
from delta.tables import DeltaTable
from py4j.protocol import Py4JError, Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from conf.sections import Lake
from lake.errors import StorageError
from lake.schemas import SCHEMAS, Table

# What Delta says where two writers of a table were at work; what else it says would be said again.
_CONFLICTS = (
    ConcurrentAppendException,
    ConcurrentDeleteDeleteException,
    ConcurrentDeleteReadException,
    ConcurrentWriteException,
)
_TRIES = 10

# Statistics (for skipping files) on what queries filter by and what files differ in: never on pixels, nor on
# random ids, of which each file spans all. They are a quarter of what a row of a tiny picture costs to write.
_STATISTICS = {
    Table.UPLOADS: "partition,offset,batch,label,verdict,event_time,ingest_batch",
}

# For queries over a few hundred rows, whose preparation takes longer than their work: half the CPU time.
_FOR_LITTLE = {
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.databricks.delta.snapshotPartitions": "1",
}


def create(spark: SparkSession, lake: Lake) -> None:
    """Make every table that is not there yet, side by side.

    Raises:
        StorageError: the lake's root cannot be written.
    """
    missing = [table for table in SCHEMAS if not exists(spark, lake, table)]
    try:
        with ThreadPoolExecutor(max_workers=len(SCHEMAS)) as pool:
            list(pool.map(lambda table: _create(spark, lake, table), missing))
    except (PySparkException, Py4JJavaError) as error:
        raise StorageError(
            f"cannot make the tables in {lake.root}: {first_line(error)}; "
            "set HUB__LAKE__ROOT to a place this user may write"
        ) from None


def _create(spark: SparkSession, lake: Lake, table: Table) -> None:
    builder = (
        DeltaTable.createIfNotExists(spark)
        .location(lake.at(table))
        .addColumns(SCHEMAS[table])
        .property("delta.enableDeletionVectors", "false")
    )
    if table in _STATISTICS:
        builder = builder.property("delta.dataSkippingStatsColumns", _STATISTICS[table])
    builder.execute()


def exists(spark: SparkSession, lake: Lake, table: Table) -> bool:
    """Whether the table has been made."""
    return DeltaTable.isDeltaTable(spark, lake.at(table))


def read(spark: SparkSession, lake: Lake, table: Table, version: int | None = None) -> DataFrame:
    """A table's rows, at a version where one is given."""
    reader = spark.read.format("delta")
    if version is not None:
        reader = reader.option("versionAsOf", version)
    return reader.load(lake.at(table))


def version(spark: SparkSession, lake: Lake, table: Table) -> int:
    """The newest version of a table."""
    return int(_snapshot(spark, lake, table).version())


def _snapshot(spark: SparkSession, lake: Lake, table: Table) -> Any:
    none = _java(spark, "scala.Option").empty()
    return log(spark, lake, table).update(False, none, none)


def identifier(spark: SparkSession, lake: Lake, table: Table) -> str:
    """A table's own id; a table that is deleted and made again has another."""
    return str(log(spark, lake, table).tableId())


def log(spark: SparkSession, lake: Lake, table: Table) -> Any:
    """Delta's log of a table, in the JVM.

    `DeltaTable.detail()` and `history()` say the same by Spark jobs that take a second.
    """
    return _java(spark, "org.apache.spark.sql.delta.DeltaLog").forTable(spark._jsparkSession, lake.at(table))


def _java(spark: SparkSession, name: str) -> Any:
    """A class of the JVM, by one question; name by name each package is looked for among all jars first."""
    return getattr(spark._jvm, name)


@contextmanager
def ready(spark: SparkSession, lake: Lake, *names: Table) -> Iterator[None]:
    """Work out, beside what the block does, what Delta asks for at the next `write_once` to some tables.

    Whether a batch was seen Delta 4.4 looks up in the table's whole state, which it puts together in Spark
    jobs: two thirds of the time of a small commit (docs/decisions/008-what-made-ingestion-fast.md).
    """
    with ThreadPoolExecutor(len(names)) as pool:
        for name in names:
            pool.submit(_seen, spark, lake, name)
        yield


def _seen(spark: SparkSession, lake: Lake, table: Table) -> None:
    with suppress(Py4JError):  # the commit meets the same error, and tells it
        _transactions(spark, lake, table)


def _transactions(spark: SparkSession, lake: Lake, table: Table) -> Any:
    """Query to its newest batch, of Scala's; makes the calling thread's session another one."""
    session = spark._jsparkSession.newSession()
    for name, value in _FOR_LITTLE.items():
        session.conf().set(name, value)
    _java(spark, "org.apache.spark.sql.classic.SparkSession").setActiveSession(session)
    return _snapshot(spark, lake, table).transactions()


def last_batch(spark: SparkSession, lake: Lake, table: Table, query: str) -> int:
    """The newest batch of a streaming query that `write_once` has committed to a table; -1 for none."""
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(_transactions, spark, lake, table).result().get(query)
    return int(found.get()) if found.isDefined() else -1


def write_once(
    rows: DataFrame,
    lake: Lake,
    table: Table,
    query: str,
    batch: int,
    mode: Literal["append", "overwrite"] = "append",
) -> None:
    """Commit a streaming query's batch; Delta drops one that it has seen, so that a restart repeats nothing.

    Args:
        query: names the query for as long as its checkpoint lives.
        batch: its number, which grows.
    """
    (
        rows.write.format("delta")
        .mode(mode)
        .option("txnAppId", query)
        .option("txnVersion", batch)
        .save(lake.at(table))
    )


def retried(commit: Callable[[], None]) -> None:
    """Commit, and do it again on the table as it is then wherever another writer was faster.

    Args:
        commit: reads the table anew each time, and can be repeated.

    Raises:
        StorageError: others were faster every time.
    """
    for _ in range(_TRIES):
        try:
            return commit()
        except _CONFLICTS as error:
            faster = first_line(error)
    raise StorageError(f"others wrote the table first, {_TRIES} times in a row; run it again ({faster})")


def upsert(
    spark: SparkSession, lake: Lake, table: Table, rows: DataFrame | Sequence[dict[str, Any]], *keys: str
) -> None:
    """Insert rows, or replace the columns they carry in the rows that have the same keys.

    Args:
        rows: a DataFrame or dicts; columns that are absent stay as they are, or null in a new row.
        keys: columns that identify a row.
    """
    schema = SCHEMAS[table]
    if not isinstance(rows, DataFrame):
        present = [field for field in schema if any(field.name in row for row in rows)]
        rows = spark.createDataFrame(list(rows), type(schema)(present))
    values = {name: f"new.`{name}`" for name in rows.columns}
    retried(
        lambda: (
            DeltaTable.forPath(spark, lake.at(table))
            .alias("old")
            .merge(rows.alias("new"), " AND ".join(f"old.`{key}` = new.`{key}`" for key in keys))
            .whenMatchedUpdate(set=values)
            .whenNotMatchedInsert(values=values)
            .execute()
        )
    )


def first_line(error: BaseException) -> str:
    """The message of a Spark error without its plan and Java stack."""
    text = str(error.java_exception.getMessage()) if isinstance(error, Py4JJavaError) else str(error)
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
