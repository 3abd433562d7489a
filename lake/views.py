"""Temporary views for Spark SQL: every table, summaries by batch and by device, all columns."""

from dataclasses import dataclass
from itertools import count
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql import types as t

from conf.sections import Lake
from lake import tables
from lake.errors import BadQuery, LakeError
from lake.schemas import USABLE
from lake.sql.comments import COLUMNS
from lake.table import Table

# A batch's quality is the share of its uploads that were accepted without a flag, 0 to 1.
_BATCHES = """
WITH reasons AS (
  SELECT batch, map_from_entries(collect_list(struct(reason, n))) AS rejected_by_reason
    FROM (SELECT batch, reason, count(*) AS n FROM uploads WHERE reason IS NOT NULL GROUP BY ALL)
   GROUP BY batch),
counts AS (
  SELECT batch, count(*) AS submitted, count_if(verdict = 'accepted') AS accepted,
         count_if(verdict = 'rejected') AS rejected,
         count_if(verdict = 'accepted' AND size(flags) = 0) / count(*) AS quality,
         min(event_time) AS first_upload, max(event_time) AS last_upload
    FROM uploads WHERE verdict <> 'erased' GROUP BY batch)
SELECT c.batch, submitted, accepted, rejected,
       coalesce(rejected_by_reason, map()) AS rejected_by_reason, quality, first_upload, last_upload
  FROM counts AS c LEFT JOIN reasons AS r ON c.batch <=> r.batch
"""

_DEVICES = """
SELECT device, count(DISTINCT user) AS users, count(*) AS submitted,
       count_if(verdict = 'accepted') AS accepted, count_if(verdict = 'rejected') AS rejected,
       min(event_time) AS first_upload, max(event_time) AS last_upload
  FROM uploads WHERE verdict <> 'erased' GROUP BY device
"""


def register(spark: SparkSession, lake: Lake) -> None:
    """Create a temporary view of each table, and the views batches, devices and columns.

    Raises:
        LakeError: the lake has no tables yet.
    """
    if not tables.exists(spark, lake, Table.UPLOADS):
        raise LakeError(f"no tables in {lake.root}: run `hub ingest` first, or set HUB__LAKE__ROOT")
    for table in Table:
        _create(table, tables.read_complete(spark, lake, table))
    _create("batches", spark.sql(_BATCHES))
    _create("devices", spark.sql(_DEVICES))
    described = [
        (str(view), field.name, field.dataType.simpleString(), field.metadata["comment"])
        for view in (*Table, "batches", "devices")
        for field in spark.table(view).schema
    ]
    described += [("columns", name, "string", comment) for name, comment in COLUMNS["columns"].items()]
    _create("columns", spark.createDataFrame(described, list(COLUMNS["columns"])))


def _create(view: str, frame: DataFrame) -> None:
    """Create a temporary view whose columns have comments, which `DESCRIBE` shows."""
    comments = COLUMNS.get(view, {})
    commented = [
        f.col(f"`{name}`").alias(name, metadata={"comment": comments.get(name, "")}) for name in frame.columns
    ]
    frame.select(*commented).createOrReplaceTempView(view)


@dataclass(frozen=True)
class QueryResult:
    """The result of a statement: column names, rows as dicts of plain values, and whether rows were cut off.

    The second column of the same name is called `name_2`, and so on.
    """

    columns: list[str]
    rows: list[dict[str, Any]]
    truncated: bool


def query(spark: SparkSession, statement: str, limit: int) -> QueryResult:
    """Run a SQL statement on the views.

    Args:
        limit: maximum number of rows.

    Raises:
        BadQuery: Spark cannot parse or run the statement.
    """
    try:
        frame = spark.sql(statement)
        columns = _unique_names(frame.columns)
        # Numbered, because names may contain dots or differ in case only.
        numbered = [f"_{number}" for number in range(len(columns))]
        types = [field.dataType for field in frame.schema]
        selected = [
            _printable(f.col(name), kind).alias(name) for name, kind in zip(numbered, types, strict=True)
        ]
        collected = frame.toDF(*numbered).select(selected).limit(limit + 1).collect()
        values = [_plain_value(list(row.asDict(recursive=True).values())) for row in collected[:limit]]
        rows = [dict(zip(columns, row, strict=True)) for row in values]
        return QueryResult(columns, rows, len(collected) > limit)
    except AnalysisException as error:
        message = tables.first_line(error).rstrip(";")
        raise BadQuery(f"{message} (views: {', '.join(view_names(spark))})") from None
    except (PySparkException, Py4JJavaError) as error:
        raise BadQuery(tables.first_line(error)) from None


def trainable_labels(spark: SparkSession, lake: Lake, batch: str, ready_images: int) -> list[str]:
    """The labels in a batch's accepted uploads that have enough usable images, from any batch, for training.

    Raises:
        LakeError: there are fewer than two such labels.
    """
    accepted = tables.read(spark, lake, Table.UPLOADS).where("verdict = 'accepted'")
    of_batch = accepted.where(f.col("batch") == batch).select("label").distinct()
    labels = [row.label for row in of_batch.collect()]
    samples = tables.read(spark, lake, Table.SAMPLES).where(USABLE).where(f.col("label").isin(labels))
    counts = {row.label: row["count"] for row in samples.groupBy("label").count().collect()}
    ready = sorted(label for label, images in counts.items() if images >= ready_images)
    if len(ready) < 2:
        raise LakeError(
            f"batch {batch} has {len(ready)} label(s) with {ready_images} images or more, two are needed; "
            "push more pictures or set HUB__LABELS__READY_IMAGES lower"
        )
    return ready


def names(spark: SparkSession) -> set[str]:
    """Names of the views, their columns and the fields of these, for completion."""
    found: set[str] = set()
    for view in view_names(spark):
        found |= {view} | _field_names(spark.table(view).schema)
    return found


def _field_names(kind: t.DataType) -> set[str]:
    if isinstance(kind, t.ArrayType):
        return _field_names(kind.elementType)
    if isinstance(kind, t.StructType):
        return {field.name for field in kind}.union(*(_field_names(field.dataType) for field in kind))
    return set()


def view_names(spark: SparkSession) -> list[str]:
    """Names of the temporary views, sorted."""
    return sorted(table.name for table in spark.catalog.listTables() if table.isTemporary)


def _unique_names(names: list[str]) -> list[str]:
    """The names, with a number appended to repeated ones."""
    unique: list[str] = []
    for name in names:
        candidate, numbers = name, count(2)
        while candidate in unique or (candidate != name and candidate in names):
            candidate = f"{name}_{next(numbers)}"
        unique.append(candidate)
    return unique


def _printable(column: Column, kind: t.DataType) -> Column:
    """The column with binary values replaced by their sizes, and times by text with their zone.

    The executors do it: no pixels reach the driver, nor times that Python would take for local ones.
    """
    if "binary" not in kind.simpleString() and "timestamp" not in kind.simpleString():
        return column
    if isinstance(kind, t.ArrayType):
        inner = kind.elementType
        return f.transform(column, lambda item: _printable(item, inner))
    if isinstance(kind, t.MapType):
        key_kind, value_kind = kind.keyType, kind.valueType
        with_values = f.transform_values(column, lambda _, value: _printable(value, value_kind))
        return f.transform_keys(with_values, lambda key, _: _printable(key, key_kind))
    if isinstance(kind, t.StructType):
        fields = [_printable(column[field.name], field.dataType).alias(field.name) for field in kind]
        return f.when(column.isNotNull(), f.struct(*fields))
    if isinstance(kind, t.BinaryType):
        return f.concat(f.lit("<"), f.format_number(f.octet_length(column), 0), f.lit(" bytes>"))
    if isinstance(kind, t.TimestampType):  # such as 2026-11-22 12:35:57.25Z
        return f.concat(column.cast("string"), f.date_format(column, "XXX"))
    return column


def _plain_value(value: Any) -> Any:
    """A value that JSON and a terminal can show."""
    if isinstance(value, dict):
        return {key: _plain_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain_value(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
