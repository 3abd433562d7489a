"""Purges a table's old versions: their data files, and the log entries, which contain values as statistics.

Delta keeps removed files for time travel, and its log keeps minimum and maximum values of each file and the
conditions of each statement. VACUUM deletes data files only. This module also deletes the log before a
checkpoint, which the protocol allows.

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
from lake.storage import Storage
from lake.table import Table

_RETENTION = "delta.deletedFileRetentionDuration"
_VACUUM_PROPERTIES = {
    "spark.databricks.delta.retentionDurationCheck.enabled": "false",
    # Number of VACUUM's tasks that list folders; each table has one folder, not 10,000.
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "8",
}


def vacuum(spark: SparkSession, settings: Settings, table: Table) -> int:
    """Delete every data file that the newest version does not use, and write a checkpoint.

    No other process may write the table meanwhile: the files of its unfinished commit would be deleted.

    Returns:
        the version of the checkpoint; the log before it can be deleted.

    Raises:
        StorageError: files cannot be deleted.
    """
    path = f"delta.`{settings.lake.at(table)}`"
    try:
        with _vacuum_properties(spark):
            # The hub turns deletion vectors off; a table where somebody turned them on is rewritten.
            spark.sql(f"REORG TABLE {path} APPLY (PURGE)")
            # A checkpoint lists removed files for this duration.
            spark.sql(f"ALTER TABLE {path} SET TBLPROPERTIES ('{_RETENTION}' = 'interval 0 seconds')")
            spark.sql(f"VACUUM {path} RETAIN 0 HOURS")
        tables.delta_log(spark, settings.lake, table).checkpoint()
        return tables.version(spark, settings.lake, table)
    except (PySparkException, Py4JJavaError) as error:
        raise StorageError(
            f"cannot purge old versions of {settings.lake.at(table)}: {tables.first_line(error)}"
        ) from None


def delete_log_before(spark: SparkSession, settings: Settings, table: Table, version: int) -> None:
    """Delete the log before the checkpoint of a version.

    Raises:
        StorageError: the checkpoint does not exist, or files cannot be deleted.
    """
    log = Storage(settings.lake.at(table, "_delta_log"), settings.s3)
    names = log.list_files()
    if not any(name.startswith(f"{version:020}.checkpoint") for name in names):
        raise StorageError(f"{log.root} has no checkpoint of version {version}")
    versions = {name: _version_of(name) for name in names}
    log.delete_files(*[name for name, of in versions.items() if of is not None and of < version])
    spark.sql(f"ALTER TABLE delta.`{settings.lake.at(table)}` UNSET TBLPROPERTIES IF EXISTS ('{_RETENTION}')")


def _version_of(name: str) -> int | None:
    """The table version of a log file or of its Hadoop checksum (`.NAME.crc`); None for other files."""
    number = name.lstrip(".").partition(".")[0]
    return int(number) if number.isdigit() and len(number) == 20 else None


@contextmanager
def _vacuum_properties(spark: SparkSession) -> Iterator[None]:
    before = {name: spark.conf.get(name, None) for name in _VACUUM_PROPERTIES}
    for name, value in _VACUUM_PROPERTIES.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name, old in before.items():
            if old is None:
                spark.conf.unset(name)
            else:
                spark.conf.set(name, old)
