"""Waiting for executors: the error names the cause, and a way out that helps."""

from types import SimpleNamespace
from typing import cast

import pytest
from pyspark.sql import SparkSession

from lake.spark.core_wait import NEEDED, PAGE, PATIENCE
from models.errors import ClusterTooSmall
from models.runs import executors
from tests.support.clusters import standalone
from tests.support.s3server import free_port


def session(page: str, workers: int, patience: float = 0.0) -> SparkSession:
    """A session on a cluster that has started no executor for it."""
    values = {PAGE: page, NEEDED: str(workers), PATIENCE: str(patience)}
    conf = SimpleNamespace(get=lambda name, default: values.get(name, default))
    tracker = SimpleNamespace(getExecutorInfos=lambda: ["driver"])
    scala = SimpleNamespace(sc=lambda: SimpleNamespace(statusTracker=lambda: tracker))
    context = SimpleNamespace(
        master="spark://m:7077", applicationId="app-train", getConf=lambda: conf, _jsc=scala
    )
    return cast(SparkSession, SimpleNamespace(sparkContext=context))


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "EXECUTORS_SECONDS", 0.1)
    monkeypatch.setattr(executors, "ASK_SECONDS", 0.1)
    monkeypatch.setattr(executors, "POLL_SECONDS", 0.05)


def refusal(page: str, workers: int, patience: float = 0.0) -> str:
    with pytest.raises(ClusterTooSmall) as caught:
        executors.wait_for_executors(session(page, workers, patience), workers)
    return str(caught.value)


def test_cores_that_another_command_holds() -> None:
    with standalone.page(3, ingest=2, train=0) as page:
        text = refusal(page, 2)
    assert "--workers 2 still waits for 2 of the 3 cores of spark://m:7077" in text
    assert "hub ingest holds 2: stop that command or give it fewer cores (HUB__SPARK__INGEST_CORES" in text


def test_while_another_command_holds_cores_the_wait_is_as_long_as_the_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with standalone.page(3, ingest=2, train=0) as page:
        assert "after 1 s" in refusal(page, 2, patience=1.0)


def test_a_cluster_with_fewer_cores_than_workers() -> None:
    with standalone.page(3, ingest=1, train=0) as page:
        text = refusal(page, 4)
    assert text.startswith("--workers 4 needs 4 cores, spark://m:7077 has 3: ask for fewer workers")


def test_free_cores_without_memory() -> None:
    with standalone.page(3, train=0) as page:
        text = refusal(page, 2)
    assert "although it has 3 free cores" in text
    assert "spark.executor.memory" in text


def test_a_cluster_that_tells_nothing() -> None:
    text = refusal(f"http://127.0.0.1:{free_port()}", 2)
    assert text.startswith("--workers 2 is more than the 0 executors that spark://m:7077 provided after")
