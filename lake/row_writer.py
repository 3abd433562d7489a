"""Single rows of small tables, written without Spark: a commit takes milliseconds and no executor's core."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
from pyspark.sql import types as t

from conf.settings import Settings
from lake.errors import StorageError
from lake.schemas import SCHEMAS, Table

TRIES = 5  # of a commit that another writer came before

_ARROW = {
    t.StringType: pa.string(),
    t.IntegerType: pa.int32(),
    t.LongType: pa.int64(),
    t.DoubleType: pa.float64(),
    t.BooleanType: pa.bool_(),
    t.TimestampType: pa.timestamp("us", "UTC"),
}


def append(settings: Settings, table: Table, row: Mapping[str, Any]) -> None:
    """Add a row, to a new table if there is none; columns that the table lacks are added to it.

    Raises:
        StorageError: the lake cannot be written.
    """
    from deltalake import DeltaTable, Schema, write_deltalake

    schema, uri, options = arrow_schema(table), _uri(settings, table), _options(settings)
    rows = pa.Table.from_pylist([{name: row.get(name) for name in schema.names}], schema=schema)

    def commit() -> None:
        properties = {"delta.enableDeletionVectors": "false"}
        DeltaTable.create(
            uri, Schema.from_arrow(schema), mode="ignore", configuration=properties, storage_options=options
        )
        write_deltalake(uri, rows, mode="append", schema_mode="merge", storage_options=options)

    _tried(commit, uri)


def update(settings: Settings, table: Table, key: str, row: Mapping[str, Any]) -> int:
    """Replace the columns that `row` carries, and the table has, in the rows that have its key.

    Returns:
        the number of rows that have it; 0 where there is no table.

    Raises:
        StorageError: the lake cannot be written.
    """
    from deltalake import DeltaTable

    uri = _uri(settings, table)
    fields = [field for field in arrow_schema(table) if field.name in row]
    rows = pa.Table.from_pylist([dict(row)], schema=pa.schema(fields))

    def commit() -> int:
        if not DeltaTable.is_deltatable(uri, _options(settings)):
            return 0
        table = DeltaTable(uri, storage_options=_options(settings))
        there = {field.name for field in table.schema().fields}
        changed = {name: f"new.{name}" for name in rows.column_names if name != key and name in there}
        merge = table.merge(rows, f"old.{key} = new.{key}", source_alias="new", target_alias="old")
        found = merge.when_matched_update(changed).execute()
        return int(found["num_target_rows_updated"])

    return int(_tried(commit, uri))


def arrow_schema(table: Table) -> pa.Schema:
    """A table's columns as Arrow's."""
    return pa.schema([pa.field(field.name, _arrow(field.dataType)) for field in SCHEMAS[table]])


def _arrow(kind: t.DataType) -> pa.DataType:
    if isinstance(kind, t.MapType):
        return pa.map_(_arrow(kind.keyType), _arrow(kind.valueType))
    if isinstance(kind, t.ArrayType):
        return pa.list_(_arrow(kind.elementType))
    return _ARROW[type(kind)]


def _uri(settings: Settings, table: Table) -> str:
    return settings.lake.at(table)


def _options(settings: Settings) -> dict[str, str] | None:
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


def _tried(commit: Callable[[], Any], uri: str) -> Any:
    from deltalake.exceptions import CommitFailedError, DeltaError

    for left in reversed(range(TRIES)):
        try:
            return commit()
        except CommitFailedError as error:
            if not left:
                raise StorageError(f"cannot write {uri}: {_first_line(error)}") from None
        except (DeltaError, OSError) as error:
            raise StorageError(f"cannot write {uri}: {_first_line(error)}") from None
    raise AssertionError("unreachable")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
