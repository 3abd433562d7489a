"""The views that Spark SQL sees: every table, and what users ask of them most."""

from dataclasses import dataclass
from itertools import count
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as f
from pyspark.sql import types as t

from conf.sections import Lake
from lake import tables
from lake.errors import BadQuery, LakeError
from lake.schemas import USABLE, Table

# A batch's quality score is the share of its uploads that were accepted without a flag, 0 to 1.
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
    """Make the temporary views uploads, samples, labels, datasets, models, batches and devices.

    Raises:
        LakeError: the lake has no tables yet.
    """
    if not tables.exists(spark, lake, Table.UPLOADS):
        raise LakeError(f"no tables in {lake.root}: run `hub ingest` first, or set HUB__LAKE__ROOT")
    for table in Table:
        tables.read(spark, lake, table).createOrReplaceTempView(table)
    spark.sql(_BATCHES).createOrReplaceTempView("batches")
    spark.sql(_DEVICES).createOrReplaceTempView("devices")


@dataclass(frozen=True)
class Answer:
    """What a statement gave: column names, rows as dicts of plain values, and whether there were more.

    Of columns of one name the second is called `name_2`, and so on.
    """

    columns: list[str]
    rows: list[dict[str, Any]]
    cut: bool


def rows(spark: SparkSession, statement: str, limit: int) -> Answer:
    """Ask the views.

    Args:
        limit: rows at most.

    Raises:
        BadQuery: Spark does not understand the statement or cannot run it.
    """
    try:
        found = spark.sql(statement)
        columns = _unique(found.columns)
        numbered = [
            f"_{number}" for number in range(len(columns))
        ]  # names may hold dots, or differ in case only
        kinds = [field.dataType for field in found.schema]
        shown = [_shown(f.col(name), kind).alias(name) for name, kind in zip(numbered, kinds, strict=True)]
        collected = found.toDF(*numbered).select(shown).limit(limit + 1).collect()
        values = [_plain(list(row.asDict(recursive=True).values())) for row in collected[:limit]]
        named = [dict(zip(columns, row, strict=True)) for row in values]
        return Answer(columns, named, len(collected) > limit)
    except AnalysisException as error:
        raise BadQuery(f"{tables.first_line(error)} (views: {', '.join(names(spark))})") from None
    except (PySparkException, Py4JJavaError) as error:
        raise BadQuery(tables.first_line(error)) from None


def labels_of(spark: SparkSession, lake: Lake, batch: str, ready_images: int) -> list[str]:
    """The labels of a batch's accepted uploads that can be trained on, by all usable images of them.

    Raises:
        LakeError: there are fewer than two such labels.
    """
    accepted = tables.read(spark, lake, Table.UPLOADS).where("verdict = 'accepted'")
    of_batch = accepted.where(f.col("batch") == batch).select("label").distinct()
    claimed = [row.label for row in of_batch.collect()]
    samples = tables.read(spark, lake, Table.SAMPLES).where(USABLE).where(f.col("label").isin(claimed))
    counted = {row.label: row["count"] for row in samples.groupBy("label").count().collect()}
    ready = sorted(label for label, images in counted.items() if images >= ready_images)
    if len(ready) < 2:
        raise LakeError(
            f"batch {batch} gives {len(ready)} label(s) with {ready_images} images or more, two are needed; "
            "push more pictures or set HUB__LABELS__READY_IMAGES lower"
        )
    return ready


def names(spark: SparkSession) -> list[str]:
    """The views there are."""
    return sorted(table.name for table in spark.catalog.listTables() if table.isTemporary)


def _unique(names: list[str]) -> list[str]:
    """Names of which none comes twice."""
    unique: list[str] = []
    for name in names:
        free, numbers = name, count(2)
        while free in unique or (free != name and free in names):
            free = f"{name}_{next(numbers)}"
        unique.append(free)
    return unique


def _shown(column: Column, kind: t.DataType) -> Column:
    """A column with its bytes told by their number where they are: pixels do not travel to be counted."""
    if "binary" not in kind.simpleString():
        return column
    if isinstance(kind, t.ArrayType):
        inner = kind.elementType
        return f.transform(column, lambda item: _shown(item, inner))
    if isinstance(kind, t.MapType):
        value_kind = kind.valueType
        return f.transform_values(column, lambda _, value: _shown(value, value_kind))
    if isinstance(kind, t.StructType):
        parts = [_shown(column[field.name], field.dataType).alias(field.name) for field in kind]
        return f.when(column.isNotNull(), f.struct(*parts))
    if isinstance(kind, t.BinaryType):
        return f.concat(f.lit("<"), f.format_number(f.octet_length(column), 0), f.lit(" bytes>"))
    return column


def _plain(value: Any) -> Any:
    """Values that JSON and a terminal can show."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
