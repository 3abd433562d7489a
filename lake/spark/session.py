"""The Spark session of every command, set up from conf/spark-defaults.conf and the settings."""

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

from conf.places import CONF, home
from conf.settings import Settings
from lake.errors import SparkUnavailable


def quoted(option: str) -> str:
    """A Java option with a path in it: Spark takes them apart at blanks, and a path may have some."""
    return '"' + option.replace("\\", "\\\\").replace('"', '\\"') + '"'


# Spark's classes as set-up has left them; a JVM that finds them elsewhere, or others, goes without. Not in
# conf/spark-defaults.conf: a JVM with another Spark would say so on the standard output of `spark-submit`.
CLASSES = home() / "jars" / "spark.jsa"
QUICK_START = quoted(f"-XX:SharedArchiveFile={CLASSES}")

_ending: list[threading.Thread] = []  # sessions; Spark has one in a process, and would hand out one that ends


def start(settings: Settings, app: str, master: str = "", **overrides: str) -> SparkSession:
    """Start a session, or take the one that spark-submit has started.

    The JVM's own output goes to `<logs>/spark.out`, its log to `<logs>/spark.log`.

    Args:
        settings: of the hub.
        app: shown in Spark's pages.
        master: other than `spark.master` of the settings.
        overrides: Spark properties, dots written as two underscores (`spark__cores__max="2"`).

    Raises:
        SparkUnavailable: the JVM parts are missing or the master does not answer.
    """
    while _ending:
        _ending.pop().join()
    _refuse_missing_jars()
    _set_environment(settings.spark.work_dir)
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    builder = SparkSession.builder.appName(f"hub {app}")
    for name, value in defaults(settings).items():
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
    # PySpark's own handler calls the JVM from within whatever call Ctrl-C broke into, and fails at it.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return spark


def stop(spark: SparkSession) -> None:
    """End a session; one whose JVM has gone has ended."""
    with suppress(Py4JError, OSError):
        spark.stop()


def stop_aside(spark: SparkSession) -> None:
    """End a session in the background; the next `start` of this process waits for it, and so does its end."""
    _ending.append(threading.Thread(target=stop, args=(spark,), name="hub-stop"))
    _ending[-1].start()


def _set_environment(work: Path) -> None:
    """What Spark reads from the environment only, when its JVM starts.

    Python workers must be this interpreter. And local-cluster keeps its executors' folders in
    `$SPARK_HOME/work`, which no property moves and which is in site-packages: so home is a folder of links.
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


def defaults(settings: Settings) -> dict[str, str]:
    """Spark properties: the file's, with absolute paths, and what the settings add."""
    properties = {}
    for line in (CONF / "spark-defaults.conf").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, value = line.split(None, 1)
            properties[name] = value.strip()
    properties["spark.jars"] = ",".join(_jars(settings))
    work = settings.spark.work_dir
    properties["spark.driver.extraJavaOptions"] = " ".join(
        (
            *map(partial(_option, settings), properties["spark.driver.extraJavaOptions"].split()),
            quoted(f"-Dderby.system.home={work}"),
            f"-Xms{settings.spark.driver_memory}",
            QUICK_START,
        )
    )
    return properties | {
        "spark.driver.memory": settings.spark.driver_memory,
        "spark.local.dir": f"{work}/local",
        "spark.sql.warehouse.dir": f"{work}/warehouse",
        **_checkpoint_properties(settings.lake.root),
        **_s3_properties(settings),
    }


def _option(settings: Settings, option: str) -> str:
    """A Java option of the file, with its path made absolute."""
    name, _, value = option.partition("=")
    if value.startswith("conf/"):
        return quoted(f"{name}={CONF.parent / value}")
    return quoted(f"{name}={settings.logs.dir}") if value == "build/logs" else option


def _jars(settings: Settings) -> list[str]:
    folders = ["spark", "s3"] if settings.lake.root.startswith("s3a://") else ["spark"]
    return sorted(str(jar) for folder in folders for jar in (home() / "jars" / folder).glob("*.jar"))


def _checkpoint_properties(root: str) -> dict[str, str]:
    """How streaming queries write their checkpoints: by Hadoop's older interface, except on HDFS.

    The other one asks for atomic renames that S3A does not have. On this machine's disk, where both rename
    alike, it starts eight processes (`readlink`) for each of the two files of a micro-batch.
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
    if not any((home() / "jars/spark").glob("delta-spark*.jar")):
        raise SparkUnavailable(f"no JVM parts in {home() / 'jars/spark'}: run `make setup`")


@contextmanager
def _jvm_output_to(path: Path) -> Iterator[None]:
    """Let the JVM, which inherits this process's output, write to a file and not over a progress bar."""
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
