"""Delta tables of the lake: create, extend, read, append exactly once, upsert, and retry after conflicts."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

from delta.exceptions import (
    ConcurrentAppendException,
    ConcurrentDeleteDeleteException,
    ConcurrentDeleteReadException,
    ConcurrentWriteException,
)
from delta.tables import DeltaTable
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from conf.sections import Lake
from lake.errors import StorageError
from lake.schemas import SCHEMAS, lacks
from lake.table import Table

# A commit that conflicts with another writer's can be retried; other errors would only be raised again.
_CONFLICTS = (
    ConcurrentAppendException,
    ConcurrentDeleteDeleteException,
    ConcurrentDeleteReadException,
    ConcurrentWriteException,
)
_TRIES = 10
_CREATE_TRIES, _CREATE_PAUSE_SECONDS = 5, 0.5

# Columns with data-skipping statistics: those that queries filter by and whose values differ between files.
# Never pixels, nor random ids, whose range is the same in every file. Statistics take a quarter of the time
# to write a row with a tiny picture.
_STATISTICS = {
    Table.UPLOADS: "partition,offset,batch,label,verdict,event_time,ingest_batch",
    Table.EMBEDDINGS: "model_id,created",
}


def create(spark: SparkSession, lake: Lake) -> None:
    """Create all missing tables, and add missing columns to the existing ones, in parallel.

    Raises:
        StorageError: the lake's root is not writable.
    """
    try:
        with ThreadPoolExecutor(max_workers=len(SCHEMAS)) as pool:
            list(pool.map(lambda table: create_or_extend(spark, lake, table), SCHEMAS))
    except (PySparkException, Py4JJavaError) as error:
        raise StorageError(
            f"cannot create the tables in {lake.root}: {first_line(error)}; "
            "set HUB__LAKE__ROOT to a location that this user may write"
        ) from None


def create_or_extend(spark: SparkSession, lake: Lake, table: Table) -> None:
    """Create a table if it is missing, or add the columns that it lacks.

    Another process may do the same at the same time (`hub ingest` and `hub organize --follow` on a new lake).
    Delta then finds a half-made table or a conflict; a later attempt finds the whole table.
    """
    for attempts_left in reversed(range(_CREATE_TRIES)):
        try:
            _create_or_extend(spark, lake, table)
        except PySparkException:
            if not attempts_left:
                raise
            time.sleep(_CREATE_PAUSE_SECONDS)
        else:
            return


def _create_or_extend(spark: SparkSession, lake: Lake, table: Table) -> None:
    if not exists(spark, lake, table):
        _create(spark, lake, table)
    elif lacks(read(spark, lake, table).schema, SCHEMAS[table]):
        # One commit of no rows. It adds columns and fields of structs; older rows have null in them.
        empty = spark.createDataFrame([], SCHEMAS[table])
        empty.write.format("delta").mode("append").option("mergeSchema", True).save(lake.at(table))


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
    """Whether the table has been created."""
    return DeltaTable.isDeltaTable(spark, lake.at(table))


def read(spark: SparkSession, lake: Lake, table: Table, version: int | None = None) -> DataFrame:
    """A table's rows: of a table version, or else of the newest."""
    reader = spark.read.format("delta")
    if version is not None:
        reader = reader.option("versionAsOf", version)
    return reader.load(lake.at(table))


def read_complete(spark: SparkSession, lake: Lake, table: Table) -> DataFrame:
    """A table's rows with all columns of its schema: no rows before the table is created.

    Columns that an older hub did not write are null. The next ingestion creates tables and columns.
    """
    empty = spark.createDataFrame([], SCHEMAS[table])
    if not exists(spark, lake, table):
        return empty
    rows = read(spark, lake, table)
    if not lacks(rows.schema, SCHEMAS[table]):
        return rows
    return empty.unionByName(rows, allowMissingColumns=True)


def version(spark: SparkSession, lake: Lake, table: Table) -> int:
    """The newest version of a table."""
    return int(delta_snapshot(spark, lake, table).version())


def delta_snapshot(spark: SparkSession, lake: Lake, table: Table) -> Any:
    """Delta's Snapshot object of a table's newest version, in the JVM."""
    none = jvm_class(spark, "scala.Option").empty()
    return delta_log(spark, lake, table).update(False, none, none)


def table_id(spark: SparkSession, lake: Lake, table: Table) -> str:
    """A table's unique id. A table that is deleted and created again has another one."""
    return str(delta_log(spark, lake, table).tableId())


def delta_log(spark: SparkSession, lake: Lake, table: Table) -> Any:
    """Delta's DeltaLog object of a table, in the JVM.

    `DeltaTable.detail()` and `history()` give the same information, but by Spark jobs that take a second.
    """
    delta_log_class = jvm_class(spark, "org.apache.spark.sql.delta.DeltaLog")
    return delta_log_class.forTable(spark._jsparkSession, lake.at(table))


def jvm_class(spark: SparkSession, name: str) -> Any:
    """A class of the JVM, by one call. With chained attributes py4j searches all jars for each package."""
    return getattr(spark._jvm, name)


def write_once(
    rows: DataFrame,
    lake: Lake,
    table: Table,
    query: str,
    batch: int,
    mode: Literal["append", "overwrite"] = "append",
) -> None:
    """Commit a micro-batch exactly once: Delta skips the commit of a batch that was committed before.

    Args:
        query: name of the streaming query, unique to its checkpoint.
        batch: the micro-batch's id, which grows.
    """
    (
        rows.write.format("delta")
        .mode(mode)
        .option("txnAppId", query)
        .option("txnVersion", batch)
        .save(lake.at(table))
    )


def retry_on_conflict(commit: Callable[[], None]) -> None:
    """Commit, and retry on the table's newest version after a conflict with another writer.

    Args:
        commit: reads the table again on each call; must be safe to repeat.

    Raises:
        StorageError: every attempt met a conflict.
    """
    for _ in range(_TRIES):
        try:
            return commit()
        except _CONFLICTS as error:
            conflict = first_line(error)
    raise StorageError(
        f"{_TRIES} commits in a row conflicted with those of other writers; run it again ({conflict})"
    )


def upsert(
    spark: SparkSession, lake: Lake, table: Table, rows: DataFrame | Sequence[dict[str, Any]], *keys: str
) -> None:
    """Insert rows, or update the given columns of the rows that have the same keys.

    Args:
        rows: a DataFrame or dicts; absent columns stay unchanged, or are null in a new row.
        keys: columns that identify a row.
    """
    schema = SCHEMAS[table]
    if not isinstance(rows, DataFrame):
        present = [field for field in schema if any(field.name in row for row in rows)]
        rows = spark.createDataFrame(list(rows), type(schema)(present))
    values = {name: f"new.`{name}`" for name in rows.columns}
    retry_on_conflict(
        lambda: (
            DeltaTable.forPath(spark, lake.at(table))
            .alias("old")
            .merge(rows.alias("new"), " AND ".join(f"old.`{key}` = new.`{key}`" for key in keys))
            .whenMatchedUpdate(set=values)
            .whenNotMatchedInsert(values=values)
            .execute()
        )
    )


def update(
    spark: SparkSession,
    lake: Lake,
    table: Table,
    rows: DataFrame,
    key: str,
    where: str = "TRUE",
    turn: AbstractContextManager[None] | None = None,
) -> None:
    """Update the given columns of existing rows; rows whose values are equal already are not rewritten.

    Args:
        rows: with the key, once each, and the columns to set; rows of unknown keys are ignored.
        key: column that identifies a row.
        where: SQL condition on the existing row, called `old`, as it is when the update is committed.
        turn: held meanwhile, where other processes write the table, too (`lake.locks.commit_lease`).
    """
    names = [name for name in rows.columns if name != key]
    changed = " OR ".join(f"NOT (old.`{name}` <=> new.`{name}`)" for name in names)
    with turn or nullcontext():
        retry_on_conflict(  # an ingestion and `hub organize` write samples concurrently
            lambda: (
                DeltaTable.forPath(spark, lake.at(table))
                .alias("old")
                .merge(rows.alias("new"), f"old.`{key}` = new.`{key}`")
                .whenMatchedUpdate(
                    condition=f"({where}) AND ({changed})",
                    set={f"`{name}`": f"new.`{name}`" for name in names},
                )
                .execute()
            )
        )


def first_line(error: BaseException) -> str:
    """The message of a Spark error without its plan and Java stack."""
    text = str(error.java_exception.getMessage()) if isinstance(error, Py4JJavaError) else str(error)
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
