"""The views that Spark SQL sees: every table, and what users ask of them most."""

from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import DataFrame, SparkSession

from conf.settings import Lake
from lake import tables
from lake.errors import BadQuery, LakeError
from lake.schemas import Table

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
    FROM uploads GROUP BY batch)
SELECT c.batch, submitted, accepted, rejected,
       coalesce(rejected_by_reason, map()) AS rejected_by_reason, quality, first_upload, last_upload
  FROM counts AS c LEFT JOIN reasons AS r ON c.batch <=> r.batch
"""

_DEVICES = """
SELECT device, count(DISTINCT user) AS users, count(*) AS submitted,
       count_if(verdict = 'accepted') AS accepted, count_if(verdict = 'rejected') AS rejected,
       min(event_time) AS first_upload, max(event_time) AS last_upload
  FROM uploads GROUP BY device
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


def query(spark: SparkSession, statement: str) -> DataFrame:
    """Ask the views.

    Raises:
        BadQuery: Spark does not understand the statement or cannot run it.
    """
    try:
        return spark.sql(statement)
    except AnalysisException as error:
        raise BadQuery(f"{tables.first_line(error)} (views: {', '.join(names(spark))})") from None
    except PySparkException as error:
        raise BadQuery(tables.first_line(error)) from None


def names(spark: SparkSession) -> list[str]:
    """The views there are."""
    return sorted(table.name for table in spark.catalog.listTables() if table.isTemporary)
