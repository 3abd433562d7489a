"""Shares of a cluster's cores: each command leaves room for others, and says what it waits for."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from pyspark import SparkContext

from conf import settings as configuration
from conf.sections import Spark
from lake.spark import master_page, shares
from lake.spark.core_wait import NEEDED, CoreWait
from lake.spark.master_page import ClusterUse, Holder
from tests.support.clusters import standalone
from tests.support.s3server import free_port

LOCAL = ["local", "local[*]", "local[*,4]", "local-cluster[2,1,1024]"]


def spark(**changes: Any) -> Spark:
    return configuration.load().spark.model_copy(update=changes)


def limits(app: str, own: Spark, address: str = "spark://m:7077", workers: int = 0) -> dict[str, str]:
    found = shares.properties(own, app, address, workers)
    return {name: value for name, value in found.items() if not name.startswith("spark.hub.")}


@pytest.mark.parametrize("address", LOCAL)
def test_a_local_master_is_not_shared(address: str) -> None:
    own = spark(ingest_cores=2, batch_cores=2, sql_cores=2, dynamic_allocation=True, train_cores=2)
    assert not shares.properties(own, "ingest", address, 0)
    assert not shares.properties(own, "train", address, 2)
    assert shares.master_of(spark(master=address, sql_cores=0), "sql") == address


@pytest.mark.parametrize(("cores", "share"), [(1, 1), (2, 1), (3, 1), (5, 1), (6, 2), (40, 13)])
def test_from_three_cores_on_ingestion_and_a_batch_job_leave_room_for_two_workers_or_more(
    cores: int, share: int
) -> None:
    with standalone.page(cores) as page:
        for app in ("ingest", "demo", "organize", "predict", "evaluate", "erase"):
            assert limits(app, spark(master_page=page)) == {"spark.cores.max": str(share)}
    assert cores < 3 or cores - share >= 2


def test_a_query_takes_no_core_of_a_cluster_unless_it_is_given_some() -> None:
    for app in ("sql", "rejects", "replay", "report"):
        assert shares.master_of(spark(master="spark://m:7077"), app) == "local[*]"
        given = spark(master="spark://m:7077", sql_cores=2)
        assert shares.master_of(given, app) == "spark://m:7077"
        assert limits(app, given) == {"spark.cores.max": "2"}
    assert shares.master_of(spark(master="yarn"), "ingest") == "yarn"


def test_a_setting_replaces_the_automatic_share() -> None:
    own = spark(ingest_cores=5, batch_cores=7)
    assert limits("ingest", own) == {"spark.cores.max": "5"}
    assert limits("organize", own) == {"spark.cores.max": "7"}


def test_yarn_and_kubernetes_count_executors_and_keep_their_own_defaults() -> None:
    for address in ("yarn", "k8s://https://api.example.org:6443"):
        assert limits("ingest", spark(), address) == {}
        assert limits("ingest", spark(ingest_cores=3), address) == {
            "spark.executor.instances": "3",
            "spark.dynamicAllocation.maxExecutors": "3",
        }


def test_dynamic_allocation_stays_within_the_share() -> None:
    found = limits("ingest", spark(ingest_cores=3, dynamic_allocation=True))
    assert found["spark.dynamicAllocation.enabled"] == "true"
    assert found["spark.dynamicAllocation.minExecutors"] == "0"
    assert found["spark.dynamicAllocation.maxExecutors"] == found["spark.cores.max"] == "3"


def test_each_training_worker_has_an_executor_with_its_cores() -> None:
    found = limits("train", spark(train_cores=3), workers=2)
    assert found == {"spark.executor.cores": "3", "spark.task.cpus": "3", "spark.cores.max": "6"}


def test_without_the_masters_page_a_command_takes_one_core_and_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = f"http://127.0.0.1:{free_port()}"
    assert limits("ingest", spark(master_page=page)) == {"spark.cores.max": "1"}
    assert f"{page} does not tell" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "page"),
    [
        ("spark://m:7077", "http://m:8080"),
        ("spark://a:7077,b:7077", "http://a:8080"),
        ("spark://[::1]:7077", "http://[::1]:8080"),
        ("yarn", ""),
        ("k8s://https://m:6443", ""),
    ],
)
def test_the_page_is_on_the_masters_host(address: str, page: str) -> None:
    assert master_page.address_of(spark(master_page=""), address) == page


def test_the_page_is_read_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    with standalone.page(3, ingest=2) as page:
        assert master_page.read(page) == ClusterUse(3, (Holder("app-ingest", "hub ingest", 2),))


def waiting(needed: int, memory: str = "1g") -> CoreWait:
    values = {NEEDED: str(needed), "spark.executor.memory": memory}
    conf = SimpleNamespace(get=lambda name, default: values.get(name, default))
    context = SimpleNamespace(master="spark://m:7077", applicationId="app-train", getConf=lambda: conf)
    return CoreWait(cast(SparkContext, context))


def test_what_a_session_waits_for_is_said_with_who_holds_it() -> None:
    with standalone.page(3, ingest=2, train=0) as page:
        text = waiting(2).describe(master_page.read(page))
    assert text == "waiting for 2 cores; hub ingest holds 2 (spark://m:7077 has 3)"
    with standalone.page(4, ingest=2, sql=1, train=1) as page:
        text = waiting(2).describe(master_page.read(page))
    assert text == "waiting for 1 core; hub ingest holds 2, hub sql holds 1 (spark://m:7077 has 4)"


def test_free_cores_that_are_not_given_point_to_memory() -> None:
    with standalone.page(3, train=0) as page:
        text = waiting(2, "9g").describe(master_page.read(page))
    assert "3 are free, but an executor needs 9g of a worker's memory, too" in text


def test_a_cluster_without_a_page_is_named() -> None:
    assert waiting(2).describe(None) == (
        "waiting for 2 cores of spark://m:7077, which does not tell who holds them"
    )
