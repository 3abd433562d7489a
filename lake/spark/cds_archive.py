"""A class data sharing (CDS) archive of Spark's classes: with it a JVM starts in half the time.

Set-up creates the archive on this machine (`python -m lake.spark.cds_archive`). It is valid for one Java and
one set of jars; any other JVM starts without it. Source: JEP 350, "Dynamic CDS Archives".
"""

import os
import subprocess
import tempfile
from pathlib import Path

from pyspark.sql import SparkSession

from conf import settings as configuration
from conf.settings import Settings
from lake.spark import session

_END_SECONDS = 120.0  # for the JVM to write the archive after the session has ended


def write_archive(settings: Settings) -> None:
    """Write an archive of the classes that a small cluster loads until it has run a Python task.

    Queries load more classes, but archiving those too makes nothing faster
    (docs/measurements/training-start-and-end.md).

    Raises:
        SparkUnavailable: the session does not start.
        subprocess.TimeoutExpired: its JVM does not end.
    """
    with tempfile.TemporaryDirectory(dir=session.CDS_ARCHIVE.parent) as folder:
        written = Path(folder) / session.CDS_ARCHIVE.name
        options = session.spark_properties(settings)["spark.driver.extraJavaOptions"]
        archive_option = session.quote_option(f"-XX:ArchiveClassesAtExit={written}")
        spark = session.start(
            settings,
            "classes",
            "local-cluster[1,1,1024]",
            spark__driver__extraJavaOptions=f"{options.replace(session.CDS_OPTION, '')} {archive_option}",
        )
        try:
            spark.sparkContext.parallelize(range(2), 1).map(str).collect()
        finally:
            process = _stop_jvm(spark)
        process.wait(_END_SECONDS)
        with written.open("rb") as file:
            os.fsync(file.fileno())  # a JVM crashes on a truncated archive
        written.replace(session.CDS_ARCHIVE)


def _stop_jvm(spark: SparkSession) -> "subprocess.Popen[bytes]":
    """Stop a session and its JVM, which pyspark would otherwise keep until this process ends."""
    gateway = spark.sparkContext._gateway
    assert gateway
    spark.stop()
    gateway.shutdown()
    process: subprocess.Popen[bytes] = gateway.proc
    assert process.stdin
    process.stdin.close()
    return process


if __name__ == "__main__":
    write_archive(configuration.load())
