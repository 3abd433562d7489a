"""Reads and writes a few rows of tables without Spark: a commit takes milliseconds and no executor core."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyspark.sql import types as t

from conf.settings import Settings
from lake.errors import StorageError
from lake.native_output import is_panic, stderr_to
from lake.schemas import SCHEMAS
from lake.table import Table

TRIES = 5  # of a commit that conflicts with another writer's

_ARROW_TYPES = {
    t.StringType: pa.string(),
    t.IntegerType: pa.int32(),
    t.LongType: pa.int64(),
    t.DoubleType: pa.float64(),
    t.FloatType: pa.float32(),
    t.BinaryType: pa.binary(),
    t.BooleanType: pa.bool_(),
    t.TimestampType: pa.timestamp("us", "UTC"),
}


def read(
    settings: Settings, table: Table, columns: Sequence[str], where: str = "TRUE"
) -> list[dict[str, Any]]:
    """Read rows: no rows before the table is created; columns that an older hub did not write are None.

    Args:
        columns: names of columns.
        where: SQL condition; values in it come from `literal`.

    Raises:
        StorageError: the lake is not readable.
    """

    def statement(existing: set[str]) -> str:
        quoted = ", ".join(f'"{name}"' for name in columns if name in existing)
        return f"SELECT {quoted} FROM rows WHERE {where}"

    rows = _select(settings, table, statement)
    return [{name: row.get(name) for name in columns} for row in rows]


def query(settings: Settings, table: Table, sql: str, needs: Collection[str] = ()) -> list[dict[str, Any]]:
    """Run a query of DataFusion over a table, which it calls `rows`; no rows before the table is created.

    Args:
        needs: columns of the query that an older hub did not write; without them there are no rows.

    Raises:
        StorageError: the lake is not readable.
    """

    def statement(existing: set[str]) -> str:
        return sql if existing.issuperset(needs) else "SELECT * FROM rows WHERE FALSE"

    return _select(settings, table, statement)


def _select(settings: Settings, table: Table, statement: Callable[[set[str]], str]) -> list[dict[str, Any]]:
    from deltalake import DeltaTable, QueryBuilder

    uri, options = uri_of(settings, table), storage_options(settings)

    def select() -> list[dict[str, Any]]:
        if not DeltaTable.is_deltatable(uri, options):
            return []
        found = DeltaTable(uri, storage_options=options)
        sql = statement({field.name for field in found.schema().fields})
        read = QueryBuilder().register("rows", found).execute(sql).read_all()
        rows: list[dict[str, Any]] = pa.table(read).to_pylist()
        return rows

    rows: list[dict[str, Any]] = retry_on_conflict(settings, select, uri, "read")
    return rows


def literal(*values: str) -> str:
    """Texts as a list of SQL literals, separated by commas."""
    return ", ".join("'" + value.replace("'", "''") + "'" for value in values)


def append(settings: Settings, table: Table, *rows: Mapping[str, Any]) -> None:
    """Append rows in one commit. Creates the table, and adds columns that it lacks.

    Raises:
        StorageError: the lake is not writable.
    """
    from deltalake import DeltaTable, Schema, write_deltalake

    schema, uri, options = arrow_schema(table), uri_of(settings, table), storage_options(settings)
    new = pa.Table.from_pylist(
        [{name: row.get(name) for name in schema.names} for row in rows], schema=schema
    )

    def commit() -> None:
        properties = {"delta.enableDeletionVectors": "false"}
        DeltaTable.create(
            uri, Schema.from_arrow(schema), mode="ignore", configuration=properties, storage_options=options
        )
        write_deltalake(uri, new, mode="append", schema_mode="merge", storage_options=options)

    retry_on_conflict(settings, commit, uri)


def update(settings: Settings, table: Table, key: str, *rows: Mapping[str, Any]) -> int:
    """Update the rows that have the keys of `rows`, in one commit. Columns that the table lacks are ignored.

    Args:
        key: column that identifies a row.
        rows: all with the same columns.

    Returns:
        the number of updated rows; 0 if the table does not exist.

    Raises:
        StorageError: the lake is not writable.
    """
    from deltalake import DeltaTable

    uri = uri_of(settings, table)
    fields = [field for field in arrow_schema(table) if rows and field.name in rows[0]]
    new = pa.Table.from_pylist([dict(row) for row in rows], schema=pa.schema(fields))

    def commit() -> int:
        if not rows or not DeltaTable.is_deltatable(uri, storage_options(settings)):
            return 0
        table = DeltaTable(uri, storage_options=storage_options(settings))
        existing = {field.name for field in table.schema().fields}
        changed = {name: f"new.{name}" for name in new.column_names if name != key and name in existing}
        merge = table.merge(new, f"old.{key} = new.{key}", source_alias="new", target_alias="old")
        merge_metrics = merge.when_matched_update(changed).execute()
        return int(merge_metrics["num_target_rows_updated"])

    return int(retry_on_conflict(settings, commit, uri))


def delete(settings: Settings, table: Table, where: str) -> int:
    """Delete the rows that meet an SQL condition; values in it come from `literal`.

    Returns:
        the number of deleted rows; 0 if the table does not exist.

    Raises:
        StorageError: the lake is not writable.
    """
    from deltalake import DeltaTable

    uri, options = uri_of(settings, table), storage_options(settings)

    def commit() -> int:
        if not DeltaTable.is_deltatable(uri, options):
            return 0
        deleted = DeltaTable(uri, storage_options=options).delete(where)["num_deleted_rows"]
        return int(deleted or 0)

    return int(retry_on_conflict(settings, commit, uri))


def arrow_schema(table: Table) -> pa.Schema:
    """The Arrow schema of a table."""
    return pa.schema([pa.field(field.name, _arrow_type(field.dataType)) for field in SCHEMAS[table]])


def _arrow_type(spark_type: t.DataType) -> pa.DataType:
    if isinstance(spark_type, t.MapType):
        return pa.map_(_arrow_type(spark_type.keyType), _arrow_type(spark_type.valueType))
    if isinstance(spark_type, t.ArrayType):
        return pa.list_(_arrow_type(spark_type.elementType))
    if isinstance(spark_type, t.StructType):
        return pa.struct([pa.field(field.name, _arrow_type(field.dataType)) for field in spark_type])
    return _ARROW_TYPES[type(spark_type)]


def uri_of(settings: Settings, table: Table) -> str:
    """Where a table lies."""
    return settings.lake.at(table)


def storage_options(settings: Settings) -> dict[str, str] | None:
    """Options of delta-rs for the lake's root; None for one on a disk."""
    if not settings.lake.root.startswith("s3a://"):
        return None
    s3 = settings.s3
    options = {
        "AWS_REGION": s3.region,
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": str(not s3.path_style).lower(),
        "AWS_ALLOW_HTTP": "true",
    }
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    options |= {name: os.environ[name] for name in names if name in os.environ}
    return options | ({"AWS_ENDPOINT_URL": s3.endpoint} if s3.endpoint else {})


def retry_on_conflict(settings: Settings, commit: Callable[[], Any], uri: str, action: str = "write") -> Any:
    """Call a function of delta-rs, again after a conflict with another writer; its errors as StorageError."""
    from deltalake.exceptions import CommitFailedError, DeltaError

    for tries_left in reversed(range(TRIES)):
        try:
            with stderr_to(settings.logs.dir / "delta.out"):  # delta-rs writes the trace of a panic there
                return commit()
        except CommitFailedError as error:
            if not tries_left:
                raise StorageError(f"cannot {action} {uri}: {_first_line(error)}") from None
        except (DeltaError, OSError) as error:
            raise StorageError(f"cannot {action} {uri}: {_first_line(error)}") from None
        except BaseException as error:
            if not is_panic(error):
                raise
            log = f"see {settings.logs.dir}/delta.out"
            raise StorageError(
                f"cannot {action} {uri}: delta-rs failed: {_first_line(error)}; {log}"
            ) from None
    raise AssertionError("unreachable")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
