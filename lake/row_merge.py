"""Merges a few rows into tables without Spark, in one commit: some columns of a row, or whole rows."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from conf.settings import Settings
from lake.row_writer import arrow_schema, retry_on_conflict, storage_options, uri_of
from lake.table import Table


def amend(
    settings: Settings,
    table: Table,
    key: str,
    rows: Sequence[Mapping[str, Any]],
    conditions: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """Set columns of existing rows in one commit. A column that one of `rows` lacks stays as it is there.

    Rows whose values are equal already are not rewritten.

    Args:
        key: column that identifies a row.
        rows: with the key, once each; rows of unknown keys are ignored.
        conditions: column to an SQL condition on the existing row, called `old`, under which it is set.

    Returns:
        the number of changed rows; 0 if the table does not exist.

    Raises:
        StorageError: the lake is not writable.
    """
    from deltalake import DeltaTable

    if not rows:
        return 0
    uri, options = uri_of(settings, table), storage_options(settings)
    names = {name for row in rows for name in row}
    fields = [field for field in arrow_schema(table) if field.name in names]
    new = pa.Table.from_pylist([dict(row) for row in rows], schema=pa.schema(fields))
    for name in names - {key}:
        new = new.append_column(f"sets_{name}", pa.array([name in row for row in rows]))

    def commit() -> int:
        if not DeltaTable.is_deltatable(uri, options):
            return 0
        found = DeltaTable(uri, storage_options=options)
        existing = [field.name for field in found.schema().fields if field.name in names - {key}]
        allowed = {name: f"(new.sets_{name} AND ({conditions.get(name, 'TRUE')}))" for name in existing}
        values = {name: f"CASE WHEN {allowed[name]} THEN new.{name} ELSE old.{name} END" for name in existing}
        differs = (f"({allowed[name]} AND old.{name} IS DISTINCT FROM new.{name})" for name in existing)
        merge = found.merge(new, f"old.{key} = new.{key}", source_alias="new", target_alias="old")
        metrics = merge.when_matched_update(values, " OR ".join(differs)).execute()
        return int(metrics["num_target_rows_updated"])

    return int(retry_on_conflict(settings, commit, uri))


def upsert(settings: Settings, table: Table, key: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, or replace those with the same keys, in one commit.

    Args:
        key: column that identifies a row.
        rows: with all columns of the table.

    Raises:
        StorageError: the lake is not writable.
    """
    from deltalake import DeltaTable

    if not rows:
        return
    uri, options = uri_of(settings, table), storage_options(settings)
    new = pa.Table.from_pylist([dict(row) for row in rows], schema=arrow_schema(table))
    values = {name: f"new.{name}" for name in new.column_names}

    def commit() -> None:
        found = DeltaTable(uri, storage_options=options)
        merge = found.merge(new, f"old.{key} = new.{key}", source_alias="new", target_alias="old")
        merge.when_matched_update(values).when_not_matched_insert(values).execute()

    retry_on_conflict(settings, commit, uri)
