"""A class data sharing (CDS) archive of Spark's classes: with it a JVM starts in half the time.

Set-up makes the archive on this machine (`python -m lake.spark.cds_archive`): it fits one Java and one set of
jars. A JVM that it does not fit starts without it. Source: JEP 350, "Dynamic CDS Archives".
"""

import os
import subprocess
import tempfile
from pathlib import Path

from pyspark.sql import SparkSession

from conf import settings as configuration
from conf.settings import Settings
from lake.spark import session

_END_SECONDS = 120.0  # for the JVM to write the file, when the session has ended


def write_archive(settings: Settings) -> None:
    """Make the file of what a small cluster loads until it has run a Python task.

    Queries load more, but with it, too, they are no faster (docs/decisions/012).

    Raises:
        SparkUnavailable: the session does not start.
        subprocess.TimeoutExpired: its JVM does not end.
    """
    with tempfile.TemporaryDirectory(dir=session.CLASSES.parent) as folder:
        written = Path(folder) / session.CLASSES.name
        usual = session.defaults(settings)["spark.driver.extraJavaOptions"].replace(session.QUICK_START, "")
        archived = session.quoted(f"-XX:ArchiveClassesAtExit={written}")
        spark = session.start(
            settings,
            "classes",
            "local-cluster[1,1,1024]",
            spark__driver__extraJavaOptions=f"{usual} {archived}",
        )
        try:
            spark.sparkContext.parallelize(range(2), 1).map(str).collect()
        finally:
            process = _ended(spark)
        process.wait(_END_SECONDS)
        with written.open("rb") as file:
            os.fsync(file.fileno())  # a JVM does not survive a file that was cut short
        written.replace(session.CLASSES)


def _ended(spark: SparkSession) -> "subprocess.Popen[bytes]":
    """End a session and its JVM, which pyspark else leaves to the end of this process."""
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
