"""Making a table's old versions unreadable: data files, and the log that holds values as statistics.

Delta keeps removed files for time travel, and its log keeps the smallest and largest values of every file and
the conditions of every statement. VACUUM removes only the former; the log is cut here as the protocol allows,
everything before a checkpoint.

Source: https://github.com/delta-io/delta/blob/master/PROTOCOL.md, sections Checkpoints and Metadata Cleanup.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from conf.settings import Settings
from lake import tables
from lake.errors import StorageError
from lake.schemas import Table
from lake.storage import Storage

_RETENTION = "delta.deletedFileRetentionDuration"
_SESSION = {
    "spark.databricks.delta.retentionDurationCheck.enabled": "false",
    # VACUUM lists folders in so many tasks; the tables have one folder each, not 10,000.
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "8",
}


def sweep(spark: SparkSession, settings: Settings, table: Table) -> int:
    """Remove every data file that the newest version does not use, and write a checkpoint.

    Nobody else may write the table meanwhile: files of an unfinished commit would be removed, too.

    Returns:
        the version of the checkpoint; all before it can be forgotten.

    Raises:
        StorageError: files cannot be removed.
    """
    path = f"delta.`{settings.lake.at(table)}`"
    try:
        with _session(spark):
            # Deletion vectors are off here; a table that somebody gave them to is rewritten without.
            spark.sql(f"REORG TABLE {path} APPLY (PURGE)")
            # The checkpoint lists removed files for as long as this says.
            spark.sql(f"ALTER TABLE {path} SET TBLPROPERTIES ('{_RETENTION}' = 'interval 0 seconds')")
            spark.sql(f"VACUUM {path} RETAIN 0 HOURS")
        tables.log(spark, settings.lake, table).checkpoint()
        return tables.version(spark, settings.lake, table)
    except (PySparkException, Py4JJavaError) as error:
        raise StorageError(
            f"cannot remove old versions of {settings.lake.at(table)}: {tables.first_line(error)}"
        ) from None


def forget(spark: SparkSession, settings: Settings, table: Table, version: int) -> None:
    """Remove the log before a checkpoint.

    Raises:
        StorageError: there is no such checkpoint, or files cannot be removed.
    """
    log = Storage(settings.lake.at(table, "_delta_log"), settings.s3)
    names = log.names()
    if not any(name.startswith(f"{version:020}.checkpoint") for name in names):
        raise StorageError(f"{log.root} has no checkpoint of version {version}")
    log.remove(*[name for name in names if _version(name) is not None and (_version(name) or 0) < version])
    spark.sql(f"ALTER TABLE delta.`{settings.lake.at(table)}` UNSET TBLPROPERTIES IF EXISTS ('{_RETENTION}')")


def _version(name: str) -> int | None:
    """Of a file of the log, Hadoop's checksum of one (`.NAME.crc`) included."""
    number = name.lstrip(".").partition(".")[0]
    return int(number) if number.isdigit() and len(number) == 20 else None


@contextmanager
def _session(spark: SparkSession) -> Iterator[None]:
    before = {name: spark.conf.get(name, None) for name in _SESSION}
    for name, value in _SESSION.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name, old in before.items():
            if old is None:
                spark.conf.unset(name)
            else:
                spark.conf.set(name, old)
