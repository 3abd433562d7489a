"""Columns of the copies: types of Spark's schemas in DuckDB's words, pixels and vectors left out."""

from pyspark.sql import types as t

from lake.schemas import SCHEMAS
from lake.table import Table

# Where a row came from: the data file's number and the row's position in it, from 0.
FILE, ROW = "file_id", "file_row"

VIEWS = (
    """CREATE VIEW batches AS SELECT batch, count(*) AS submitted,
        count(*) FILTER (verdict = 'accepted') AS accepted,
        count(*) FILTER (verdict = 'rejected') AS rejected,
        count(*) FILTER (verdict = 'accepted') / count(*) AS quality,
        min(ingest_time) AS begun, max(ingest_time) AS last
    FROM uploads WHERE batch IS NOT NULL AND verdict <> 'erased' GROUP BY batch""",
    """CREATE VIEW devices AS SELECT device, count(*) AS submitted,
        count(*) FILTER (verdict = 'accepted') AS accepted, max(event_time) AS last_event
    FROM uploads WHERE device IS NOT NULL AND verdict <> 'erased' GROUP BY device""",
)
"""Views beside the copies, as `hub sql` has them."""

_TYPES = {
    t.StringType: "VARCHAR",
    t.IntegerType: "INTEGER",
    t.LongType: "BIGINT",
    t.FloatType: "FLOAT",
    t.DoubleType: "DOUBLE",
    t.BooleanType: "BOOLEAN",
    t.TimestampType: "TIMESTAMP",  # UTC
    t.BinaryType: "BLOB",
}


def copied(table: Table) -> dict[str, str]:
    """Columns of a table that its copy has, with their DuckDB types.

    Pictures, payloads, headers and vectors stay in the lake: they are read where one is shown.
    """
    return {field.name: duckdb_type(field.dataType) for field in SCHEMAS[table] if _is_small(field.dataType)}


def duckdb_type(kind: t.DataType) -> str:
    """The DuckDB type of a Spark type."""
    if isinstance(kind, t.ArrayType):
        return f"{duckdb_type(kind.elementType)}[]"
    if isinstance(kind, t.MapType):
        return f"MAP({duckdb_type(kind.keyType)}, {duckdb_type(kind.valueType)})"
    if isinstance(kind, t.StructType):
        return f"STRUCT({', '.join(f'{_quoted(each.name)} {duckdb_type(each.dataType)}' for each in kind)})"
    return _TYPES[type(kind)]


def create_statement(table: Table) -> str:
    """The statement that creates the empty copy of a table."""
    columns = [f"{_quoted(name)} {kind}" for name, kind in copied(table).items()]
    return f"CREATE TABLE {table} ({', '.join(columns)}, {FILE} INTEGER, {ROW} INTEGER)"


def _is_small(kind: t.DataType) -> bool:
    if isinstance(kind, t.ArrayType):
        inner = kind.elementType
        return not isinstance(inner, t.FloatType | t.DoubleType) and _is_small(inner)
    if isinstance(kind, t.StructType):
        return all(_is_small(field.dataType) for field in kind)
    return not isinstance(kind, t.BinaryType)


def _quoted(name: str) -> str:
    return f'"{name}"'
