"""Shared fixtures: one broker, one Spark session, one cluster, settings with temporary folders."""

import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conf import settings as configuration
from conf.sections import S3, Kafka
from conf.settings import Settings
from local import broker as local_broker
from streaming import topics
from tests.support import s3server
from tests.support.commands import ROOT, Finished, Hub, hub_command
from tests.support.s3server import Bucket

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from models.runs.train import TrainedModel


def pytest_configure() -> None:
    """Restore SIGINT: a shell ignores it in background jobs, and so would the processes that tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The default settings with temporary folders, also set in the environment of subprocesses."""
    folder = tmp_path_factory.mktemp("hub")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("HUB__")]:
            patch.delenv(name)
        patch.setenv("HUB__LAKE__ROOT", str(folder / "lake"))
        patch.setenv("HUB__LOGS__DIR", str(folder / "logs"))
        patch.setenv("HUB__BROKER__DIR", str(folder / "broker"))
        patch.setenv("HUB__SPARK__WORK_DIR", str(folder / "spark"))
        patch.setenv("HUB__INGEST__INDEX_DIR", str(folder / "index"))
        patch.setenv("HUB__ORGANIZE__INDEX_DIR", str(folder / "vectors"))
        # Set before the shared session starts, so that its executors inherit them.
        patch.setenv("AWS_ACCESS_KEY_ID", s3server.KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", s3server.SECRET)
        patch.delenv("AWS_SESSION_TOKEN", raising=False)
        yield configuration.load()


@pytest.fixture(scope="session")
def broker(settings: Settings) -> Iterator[str]:
    """The address (host:port) of the broker of the test run."""
    with local_broker.running(settings) as bootstrap:
        yield bootstrap


@pytest.fixture(scope="session")
def spark(settings: Settings) -> Iterator["SparkSession"]:
    """The Spark session of the test run: local, two cores."""
    from lake.spark import session

    spark = session.start(settings, "tests", master="local[2,4]")
    yield spark
    if spark.sparkContext._jsc is not None:
        spark.stop()


@pytest.fixture(scope="session")
def cluster(settings: Settings) -> Iterator["SparkSession"]:
    """The training cluster of the test run: two executors with one core each.

    A process has one Spark context at a time, so this stops `spark`; tests with this fixture run last.
    """
    from pyspark.sql import SparkSession

    from models.runs.cluster import start_session

    running = SparkSession.getActiveSession()
    if running is not None:
        running.stop()
    spark = start_session(settings, 2, tables=True)
    yield spark
    spark.stop()


@pytest.fixture(scope="module")
def by_value(request: pytest.FixtureRequest) -> None:
    """Pickle the functions of the test module by value, because executors cannot import the module."""
    from pyspark import cloudpickle

    cloudpickle.register_pickle_by_value(request.module)  # type: ignore[no-untyped-call]


@pytest.fixture(scope="session")
def digits_model(settings: Settings, cluster: "SparkSession") -> "TrainedModel":
    """A model that two workers trained on scanned digits (dataset `digits`)."""
    from models.plan import TrainingPlan
    from models.runs.train import train
    from tests.support import tiny

    tiny.digits(settings, "digits")
    plan = TrainingPlan.of(settings, "digits", 2, epochs=5, batch_size=32, warmup_epochs=1.0)
    return train(settings, plan, cluster, bar=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests with `cluster` after those with `spark`."""
    items.sort(key=lambda item: "cluster" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def s3(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """Settings of the test run's S3 server, with short timeouts."""
    with s3server.running(tmp_path_factory.mktemp("s3")) as endpoint:
        yield settings.s3.model_copy(
            update={"endpoint": endpoint, "backoff_seconds": 0.05, "read_seconds": 1.0, "attempts": 3}
        )


@pytest.fixture
def bucket(s3: S3) -> Bucket:
    """A new, empty bucket for one test."""
    own = Bucket(s3, f"b-{uuid.uuid4().hex[:12]}")
    own.client.create_bucket(Bucket=own.name)
    return own


@pytest.fixture
def topic() -> str:
    """A topic name for one test."""
    return f"images-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def kafka(settings: Settings, broker: str, topic: str) -> Kafka:
    """Settings of two new topics on the broker, for one test."""
    fresh = settings.kafka.model_copy(
        update={
            "bootstrap": broker,
            "topic": topic,
            "rejected_topic": f"{topic}.rejected",
            "verdicts_topic": f"{topic}.verdicts",
        }
    )
    topics.create(fresh, broker)
    return fresh


@pytest.fixture
def hub(settings: Settings) -> Hub:
    """Run `hub` in a process of its own: `hub("up", "--json", HUB__BROKER__HEAP="256m")`."""

    def call(*arguments: str, timeout: float = 300, **environment: str) -> Finished:
        done = subprocess.run(
            hub_command(*arguments),
            capture_output=True,
            text=True,
            timeout=timeout,
            env=os.environ | environment,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real pictures beside the checkout."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real pictures at {folder}")
    return folder
