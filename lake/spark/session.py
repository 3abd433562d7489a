"""Starts and stops the Spark session of a command, from conf/spark-defaults.conf and the settings."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pyspark
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from conf.places import CONF, base_dir
from conf.settings import Settings
from lake.errors import SparkUnavailable


def quote_option(option: str) -> str:
    """Quote a Java option that contains a path: Spark splits options at blanks, which a path may contain."""
    return '"' + option.replace("\\", "\\\\").replace('"', '\\"') + '"'


# The class data sharing archive, created by set-up. A JVM with other jars, or other paths to them, starts
# without it. The option is not in conf/spark-defaults.conf, because a JVM with another Spark would print a
# warning to the standard output of `spark-submit`.
CDS_ARCHIVE = base_dir() / "jars" / "spark.jsa"
CDS_OPTION = quote_option(f"-XX:SharedArchiveFile={CDS_ARCHIVE}")

# Threads that stop sessions. A process has one session, and Spark would return one that is still stopping.
_stopping: list[threading.Thread] = []


def start(settings: Settings, app: str, master: str = "", **overrides: str) -> SparkSession:
    """Start a session, or use the one that spark-submit has started.

    The JVM's standard output and error go to `<logs>/spark.out`, its log to `<logs>/spark.log`.

    Args:
        settings: of the hub.
        app: name in Spark's web pages.
        master: used instead of `spark.master` of the settings.
        overrides: Spark properties, with two underscores for each dot (`spark__cores__max="2"`).

    Raises:
        SparkUnavailable: Spark's jars are missing or the master does not answer.
    """
    while _stopping:
        _stopping.pop().join()
    _refuse_missing_jars()
    _set_environment(settings.spark.work_dir)
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    builder = SparkSession.builder.appName(f"hub {app}")
    for name, value in spark_properties(settings).items():
        builder = builder.config(name, value)
    if not submitted:
        builder = builder.master(master or settings.spark.master)
    for name, value in overrides.items():
        builder = builder.config(name.replace("__", "."), value)
    try:
        with _jvm_output_to(settings.logs.dir / "spark.out"):
            spark = builder.getOrCreate()
    except (PySparkException, OSError) as error:
        where = master or settings.spark.master
        raise SparkUnavailable(
            f"no Spark session on {where}: {error}; see {settings.logs.dir}/spark.out"
        ) from None
    # PySpark's own Ctrl-C handler calls the JVM from inside the interrupted call, which fails.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return spark


def stop(spark: SparkSession) -> None:
    """Stop a session. If its JVM has died, nothing is left to stop."""
    with suppress(Py4JError, OSError):
        spark.stop()


def stop_in_background(spark: SparkSession) -> None:
    """Stop a session in the background. The next `start`, and the end of this process, wait for it."""
    _stopping.append(threading.Thread(target=stop, args=(spark,), name="hub-stop"))
    _stopping[-1].start()


def _set_environment(work: Path) -> None:
    """Set the environment variables for which Spark has no property.

    Python workers must use this interpreter. And a local-cluster puts its executors' folders into
    `$SPARK_HOME/work`, in site-packages by default. So SPARK_HOME is a folder of links to pyspark's parts.
    """
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if "SPARK_HOME" in os.environ:
        return
    spark_home = work / "home"
    spark_home.mkdir(parents=True, exist_ok=True)
    for part in Path(pyspark.__file__).parent.iterdir():
        if part.name != "work":
            with suppress(FileExistsError):
                (spark_home / part.name).symlink_to(part)
    os.environ["SPARK_HOME"] = str(spark_home)


def spark_properties(settings: Settings) -> dict[str, str]:
    """All Spark properties: those of conf/spark-defaults.conf, with absolute paths, and of the settings."""
    properties = {}
    for line in (CONF / "spark-defaults.conf").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, value = line.split(None, 1)
            properties[name] = value.strip()
    properties["spark.jars"] = ",".join(_jars(settings))
    work = settings.spark.work_dir
    properties["spark.driver.extraJavaOptions"] = " ".join(
        (
            *map(partial(_with_absolute_path, settings), properties["spark.driver.extraJavaOptions"].split()),
            quote_option(f"-Dderby.system.home={work}"),
            f"-Xms{settings.spark.driver_memory}",
            CDS_OPTION,
        )
    )
    return properties | {
        "spark.driver.memory": settings.spark.driver_memory,
        "spark.local.dir": f"{work}/local",
        "spark.sql.warehouse.dir": f"{work}/warehouse",
        **_checkpoint_properties(settings.lake.root),
        **_s3_properties(settings),
    }


def _with_absolute_path(settings: Settings, option: str) -> str:
    """A Java option of conf/spark-defaults.conf, with its path made absolute."""
    name, _, value = option.partition("=")
    if value.startswith("conf/"):
        return quote_option(f"{name}={CONF.parent / value}")
    return quote_option(f"{name}={settings.logs.dir}") if value == "build/logs" else option


def _jars(settings: Settings) -> list[str]:
    folders = ["spark", "s3"] if settings.lake.root.startswith("s3a://") else ["spark"]
    return sorted(str(jar) for folder in folders for jar in (base_dir() / "jars" / folder).glob("*.jar"))


def _checkpoint_properties(root: str) -> dict[str, str]:
    """Write streaming checkpoints through Hadoop's older FileSystem interface, except on HDFS.

    The newer FileContext needs an atomic rename, which S3A lacks. On a local disk both rename alike, but
    FileContext starts eight processes (`readlink`) for each of the two files of a micro-batch.
    """
    if "://" in root and not root.startswith("s3a://"):
        return {}
    manager = "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager"
    return {"spark.sql.streaming.checkpointFileManagerClass": manager}


def _s3_properties(settings: Settings) -> dict[str, str]:
    if not settings.lake.root.startswith("s3a://"):
        return {}
    s3 = settings.s3
    properties = {
        "spark.hadoop.fs.s3a.path.style.access": str(s3.path_style).lower(),
        "spark.hadoop.fs.s3a.endpoint.region": s3.region,
        "spark.delta.logStore.s3a.impl": "io.delta.storage.S3SingleDriverLogStore",
    }
    if s3.endpoint:
        properties["spark.hadoop.fs.s3a.endpoint"] = s3.endpoint
        tls = str(s3.endpoint.startswith("https")).lower()
        properties["spark.hadoop.fs.s3a.connection.ssl.enabled"] = tls
    return properties


def _refuse_missing_jars() -> None:
    if not any((base_dir() / "jars/spark").glob("delta-spark*.jar")):
        raise SparkUnavailable(f"no jars in {base_dir() / 'jars/spark'}: run `make setup`")


@contextmanager
def _jvm_output_to(path: Path) -> Iterator[None]:
    """Redirect standard output and error, which the JVM inherits, to a file, so that progress bars stay."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    try:
        with path.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        yield
    finally:
        for descriptor, target in zip(saved, (1, 2), strict=True):
            os.dup2(descriptor, target)
            os.close(descriptor)
