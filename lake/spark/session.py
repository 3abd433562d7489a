"""Starts and stops the Spark session of a command, from conf/spark-defaults.conf and the settings."""

import os
import re
import signal
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path

from py4j.protocol import Py4JError
from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from conf.places import CONF, base_dir
from conf.settings import Settings
from lake.errors import SparkUnavailable
from lake.native_output import output_to
from lake.spark import core_wait, jvm_environment, shares, temporary_folder


def quote_option(option: str) -> str:
    """Quote a Java option that contains a path: Spark splits options at blanks, which a path may contain."""
    return '"' + option.replace("\\", "\\\\").replace('"', '\\"') + '"'


# The class data sharing archive, created by set-up. A JVM with other jars, or other paths to them, starts
# without it. The option is not in conf/spark-defaults.conf, because a JVM with another Spark would print a
# warning to the standard output of `spark-submit`.
CDS_ARCHIVE = base_dir() / "jars" / "spark.jsa"
CDS_OPTION = quote_option(f"-XX:SharedArchiveFile={CDS_ARCHIVE}")

_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    "AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION",
)  # fmt: skip

_HADOOP_KEYS = {
    "AWS_ACCESS_KEY_ID": "fs.s3a.access.key",
    "AWS_SECRET_ACCESS_KEY": "fs.s3a.secret.key",
    "AWS_SESSION_TOKEN": "fs.s3a.session.token",
}

# Threads that stop sessions. A process has one session, and Spark would return one that is still stopping.
_stopping: list[threading.Thread] = []


def start(settings: Settings, app: str, master: str = "", workers: int = 0, **overrides: str) -> SparkSession:
    """Start a session, or use the one that spark-submit has started.

    The JVM's standard output and error go to `<logs>/spark.out`, its log to `<logs>/spark.log`.

    Args:
        settings: of the hub.
        app: name of the command; it has a share of a cluster's cores (lake/spark/shares.py).
        master: used instead of `spark.master` of the settings.
        workers: executors that a training needs; 0 for another command.
        overrides: Spark properties, with two underscores for each dot (`spark__cores__max="2"`).

    Raises:
        SparkUnavailable: Spark's jars are missing or the master does not answer.
    """
    while _stopping:
        _stopping.pop().join()
    _refuse_missing_jars()
    submitted = _submitted_properties()
    master = submitted.get("spark.master") or master or shares.master_of(settings.spark, app)
    local = shares.is_local(master)
    properties = spark_properties(settings) | (_local_properties(settings) if local else {})
    share = shares.properties(settings.spark, app, master, workers)
    properties |= {name: value for name, value in share.items() if name not in submitted}
    properties |= {name.replace("__", "."): value for name, value in overrides.items()}
    builder = SparkSession.builder.appName(f"hub {app}")
    for name, value in (properties if submitted else properties | {"spark.master": master}).items():
        builder = builder.config(name, value)
    work = settings.spark.work_dir
    environment = jvm_environment.submitted() if submitted else jvm_environment.variables(work, local)
    with jvm_environment.replaced(environment):
        spark = _get_or_create(builder, master, settings.logs.dir / "spark.out")
    # PySpark's own Ctrl-C handler calls the JVM from inside the interrupted call, which fails.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _pass_credentials(spark.sparkContext)
    if not local:
        core_wait.watch(spark.sparkContext, app)
    return spark


def _pass_credentials(context: SparkContext) -> None:
    """Give Python workers and the JVM the credentials of this command, so their machines need none.

    Not as properties: those stand on the JVM's command line.
    """
    own = {name: os.environ[name] for name in _CREDENTIALS if name in os.environ}
    context.environment.update(own)
    for name, key in _HADOOP_KEYS.items():
        if name in own:
            context._jsc.hadoopConfiguration().set(key, own[name])


def _submitted_properties() -> dict[str, str]:
    """The properties that spark-submit was given; empty if it did not start this process."""
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        return {}
    SparkContext._ensure_initialized()
    return dict(SparkConf().getAll())


def _get_or_create(builder: SparkSession.Builder, master: str, log: Path) -> SparkSession:
    """Get or create a session; its JVM inherits standard output and error, which go to the log meanwhile.

    Raises:
        SparkUnavailable: with the first error that the JVM has written.
    """
    began = log.stat().st_size if log.exists() else 0
    try:
        with output_to(log, 1, 2):
            return builder.getOrCreate()
    except (PySparkException, OSError) as error:
        exited = "JAVA_GATEWAY_EXITED" in str(error)  # PySpark does not say why
        cause = (exited and _first_error(log, began)) or error
        raise SparkUnavailable(f"no Spark session on {master}: {cause}; see {log}") from None


def _first_error(log: Path, began: int) -> str:
    """The first error that a JVM has written since it began, else its last line; empty if there is none."""
    with suppress(OSError), log.open("rb") as file:
        file.seek(began)
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if re.search(r"Error|Exception|No such file|not found", line)]
        return (errors[:1] or lines[-1:] or [""])[0][:300]
    return ""


def stop(spark: SparkSession) -> None:
    """Stop a session. If its JVM has died, nothing is left to stop."""
    with suppress(Py4JError, OSError):
        spark.stop()


def stop_in_background(spark: SparkSession) -> None:
    """Stop a session in the background. The next `start`, and the end of this process, wait for it."""
    _stopping.append(threading.Thread(target=stop, args=(spark,), name="hub-stop"))
    _stopping[-1].start()


def spark_properties(settings: Settings) -> dict[str, str]:
    """All Spark properties: those of conf/spark-defaults.conf, with absolute paths, and of the settings."""
    properties = {}
    for line in (CONF / "spark-defaults.conf").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, value = line.split(None, 1)
            properties[name] = value.strip()
    properties["spark.jars"] = ",".join(_jars(settings))
    work = settings.spark.work_dir
    sockets = temporary_folder.of_process(work).holds_sockets
    properties["spark.driver.extraJavaOptions"] = " ".join(
        (
            *map(partial(_with_absolute_path, settings), properties["spark.driver.extraJavaOptions"].split()),
            _temporary_folder_option(settings),
            quote_option(f"-Dderby.system.home={work}"),
            f"-Xms{settings.spark.driver_memory}",
            CDS_OPTION,
        )
    )
    return properties | {
        "spark.driver.memory": settings.spark.driver_memory,
        "spark.local.dir": f"{work}/local",
        "spark.sql.warehouse.dir": f"{work}/warehouse",
        "spark.python.unix.domain.socket.enabled": str(sockets).lower(),
        **_checkpoint_properties(settings.lake.root),
        **_s3_properties(settings),
    }


def _local_properties(settings: Settings) -> dict[str, str]:
    """Properties of a session on this machine, whose connections and files stay here."""
    default = spark_properties(settings)["spark.executor.extraJavaOptions"]
    return {
        "spark.driver.host": jvm_environment.LOOPBACK,
        "spark.driver.bindAddress": jvm_environment.LOOPBACK,
        "spark.hadoop.fs.defaultFS": "file:///",
        "spark.executor.extraJavaOptions": f"{default} {_temporary_folder_option(settings)}",
    }


def executor_options(settings: Settings, master: str) -> str:
    """The system properties (-D) of executors, for a session with Java options of its own."""
    options = spark_properties(settings)["spark.executor.extraJavaOptions"].split()
    own = [_temporary_folder_option(settings)] if shares.is_local(master) else []
    return " ".join((*(option for option in options if option.startswith("-D")), *own))


def _temporary_folder_option(settings: Settings) -> str:
    return quote_option(f"-Djava.io.tmpdir={temporary_folder.of_process(settings.spark.work_dir).path}")


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
