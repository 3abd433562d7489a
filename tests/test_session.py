"""One session in a process, whoever starts and ends it."""

import subprocess
import threading
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from conf.settings import Settings
from lake import session
from lake.errors import SparkUnavailable


def test_a_session_is_started_when_the_one_before_it_has_ended(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spark would hand out the one that is ending."""

    class Slow:
        def stop(self) -> None:
            ended.wait(20)

    def refuse() -> None:
        started.set()
        raise SparkUnavailable("far enough")

    ended, started = threading.Event(), threading.Event()
    monkeypatch.setattr(session, "_refuse_missing_jars", refuse)
    session.stop_aside(Slow())  # type: ignore[arg-type]

    def start() -> None:
        with pytest.raises(SparkUnavailable, match="far enough"):
            session.start(settings, "second")

    second = threading.Thread(target=start)
    second.start()
    assert not started.wait(0.3)
    ended.set()
    second.join(20)
    assert started.is_set()


def test_jvms_take_spark_s_classes_from_the_file_that_set_up_has_made(spark: SparkSession) -> None:
    if not session.CLASSES.exists():
        pytest.skip(f"set-up could not make {session.CLASSES} on this machine")
    jvm = spark.sparkContext._jvm
    assert jvm
    given = [*jvm.java.lang.management.ManagementFactory.getRuntimeMXBean().getInputArguments()]
    assert session.QUICK_START in given, "the session's JVM was not told of it"
    path = jvm.java.lang.System.getProperty("java.class.path")
    java = Path(jvm.java.lang.System.getProperty("java.home")) / "bin/java"
    command = [
        java,
        *given,
        "-Xlog:class+load:stdout",
        "-cp",
        path,
        "org.apache.spark.deploy.SparkSubmit",
        "--version",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    found = [line for line in done.stdout.splitlines() if "shared objects file (top)" in line]
    assert any("org.apache.spark." in line for line in found)


def test_the_jvm_has_its_whole_heap_from_the_start(settings: Settings) -> None:
    properties = session.defaults(settings)
    assert f"-Xms{properties['spark.driver.memory']} " in properties["spark.driver.extraJavaOptions"]


def test_the_session_s_jvm_has_it(spark: SparkSession) -> None:
    assert spark._jvm
    usage = spark._jvm.java.lang.management.ManagementFactory.getMemoryMXBean().getHeapMemoryUsage()
    assert usage.getCommitted() >= 0.9 * usage.getMax()
