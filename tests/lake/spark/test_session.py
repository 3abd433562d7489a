"""The Spark session of a process: start and stop, Java options, and the CDS archive."""

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pyspark
import pytest
from pyspark.sql import SparkSession

from conf.places import CONF
from conf.settings import Settings
from lake.errors import SparkUnavailable
from lake.spark import session


def test_a_session_starts_only_after_the_one_before_has_stopped(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise Spark would return the session that is stopping."""

    class SlowSession:
        def stop(self) -> None:
            stopped.wait(20)

    def refuse() -> None:
        started.set()
        raise SparkUnavailable("far enough")

    stopped, started = threading.Event(), threading.Event()
    monkeypatch.setattr(session, "_refuse_missing_jars", refuse)
    session.stop_in_background(SlowSession())  # type: ignore[arg-type]

    def start() -> None:
        with pytest.raises(SparkUnavailable, match="far enough"):
            session.start(settings, "second")

    second = threading.Thread(target=start)
    second.start()
    assert not started.wait(0.3)
    stopped.set()
    second.join(20)
    assert started.is_set()


def test_jvms_load_spark_s_classes_from_the_archive_that_set_up_has_created(spark: SparkSession) -> None:
    if not session.CDS_ARCHIVE.exists():
        pytest.skip(f"set-up could not create {session.CDS_ARCHIVE} on this machine")
    jvm = spark.sparkContext._jvm
    assert jvm
    options = [*jvm.java.lang.management.ManagementFactory.getRuntimeMXBean().getInputArguments()]
    assert f"-XX:SharedArchiveFile={session.CDS_ARCHIVE}" in options, "the session's JVM has no such option"
    path = jvm.java.lang.System.getProperty("java.class.path")
    java = Path(jvm.java.lang.System.getProperty("java.home")) / "bin/java"
    command = [
        java,
        *options,
        "-Xlog:class+load:stdout",
        "-cp",
        path,
        "org.apache.spark.deploy.SparkSubmit",
        "--version",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    archived = [line for line in done.stdout.splitlines() if "shared objects file (top)" in line]
    assert any("org.apache.spark." in line for line in archived)


def test_java_options_with_blanks_and_quotes_in_their_paths_stay_intact(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spark's own launcher splits them here, for the driver; the same rules apply to executors."""
    folder = tmp_path / 'my "own" \\ folder'
    shutil.copytree(CONF, folder / "conf", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(session, "CONF", folder / "conf")
    cds_option = session.quote_option(f"-XX:SharedArchiveFile={folder}/spark.jsa")
    monkeypatch.setattr(session, "CDS_OPTION", cds_option)
    own = settings.model_copy(update={
        "logs": settings.logs.model_copy(update={"dir": folder / "logs"}),
        "spark": settings.spark.model_copy(update={"work_dir": folder / "work"}),
    })  # fmt: skip
    options = session.spark_properties(own)["spark.driver.extraJavaOptions"]
    spark_home = Path(pyspark.__file__).parent
    done = subprocess.run(
        ["java", "-cp", f"{spark_home}/jars/*", "org.apache.spark.launcher.Main",
         "org.apache.spark.deploy.SparkSubmit", "--conf", f"spark.driver.extraJavaOptions={options}", "x.py"],
        env=os.environ | {"SPARK_HOME": str(spark_home), "SPARK_SCALA_VERSION": "2.13"},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    arguments = done.stdout.split("\0")
    for option in (
        f"-Dlog4j2.configurationFile={folder}/conf/log4j2.properties",
        f"-Dhub.logs={folder}/logs",
        f"-Dderby.system.home={folder}/work",
        f"-XX:SharedArchiveFile={folder}/spark.jsa",
        f"-Xms{settings.spark.driver_memory}",
        "-XX:+UseParallelGC",
    ):
        assert option in arguments


def test_the_initial_heap_size_is_the_maximum(settings: Settings) -> None:
    properties = session.spark_properties(settings)
    assert f"-Xms{properties['spark.driver.memory']} " in properties["spark.driver.extraJavaOptions"]


def test_the_session_s_jvm_has_committed_its_whole_heap(spark: SparkSession) -> None:
    assert spark._jvm
    usage = spark._jvm.java.lang.management.ManagementFactory.getMemoryMXBean().getHeapMemoryUsage()
    assert usage.getCommitted() >= 0.9 * usage.getMax()
