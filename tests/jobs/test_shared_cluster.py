"""Commands on one real standalone cluster of three cores run together, or say what they wait for."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from conf.sections import Kafka, Lake
from conf.settings import Settings
from tests.support import tiny
from tests.support.clusters import standalone
from tests.support.clusters.standalone import Cluster
from tests.support.commands import Hub, hub_command
from tests.support.uploads import send, upload
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.services, pytest.mark.faults]

DATASET = "tiny-on-a-shared-cluster"


@dataclass(frozen=True)
class Shared:
    """A cluster, a topic, a lake with a dataset, and the variables with which commands find them."""

    cluster: Cluster
    kafka: Kafka
    variables: dict[str, str]
    folder: Path

    @contextmanager
    def started(self, *arguments: str, **more: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a command in the background during the block; its output goes to `<command>.out`."""
        with self.output(arguments[0]).open("wb") as file:
            process = subprocess.Popen(
                hub_command(*arguments), env=os.environ | self.variables | more, stdout=file, stderr=file
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def output(self, command: str) -> Path:
        return self.folder / f"{command}.out"

    def await_cores(self, **held: int) -> None:
        expected = {f"hub {name}": cores for name, cores in held.items()}
        reached = wait_until(lambda: self.cluster.held() == expected, 240)
        texts = [file.read_text()[-1000:] for file in self.folder.glob("*.out")]
        assert reached, f"{self.cluster.held()} instead of {expected}; {texts}"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with standalone.running(tmp_path_factory.mktemp("cluster"), 3, "6g") as cluster:
        yield cluster


@pytest.fixture
def shared(settings: Settings, cluster: Cluster, kafka: Kafka, tmp_path: Path) -> Shared:
    own = settings.model_copy(update={"lake": Lake(root=str(tmp_path / "lake"))})
    tiny.snapshot(own, DATASET)
    variables = cluster.variables | {
        "HUB__LAKE__ROOT": own.lake.root,
        "HUB__LOGS__DIR": str(tmp_path / "logs"),
        "HUB__INGEST__INDEX_DIR": str(tmp_path / "index"),
        "HUB__KAFKA__BOOTSTRAP": kafka.bootstrap,
        "HUB__KAFKA__TOPIC": kafka.topic,
        "HUB__KAFKA__REJECTED_TOPIC": kafka.rejected_topic,
        "HUB__KAFKA__VERDICTS_TOPIC": kafka.verdicts_topic,
    }
    return Shared(cluster, kafka, variables, tmp_path)


def count_uploads(hub: Hub, shared: Shared) -> int:
    done = hub("sql", "SELECT count(*) AS n FROM uploads", "--json", **shared.variables)
    if "no tables in" in done.stderr:
        return 0
    assert done.status == 0, done.stderr
    return int(json.loads(done.stdout)[0]["n"])


def test_an_ingestion_a_query_and_a_training_of_two_workers_run_together(shared: Shared, hub: Hub) -> None:
    with shared.started("ingest") as ingest:
        send(shared.kafka, map(upload, range(20)))
        shared.await_cores(ingest=1)
        train = shared.started("train", "--dataset", DATASET, "--workers", "2", "--epochs", "2000")
        with train as training:
            shared.await_cores(ingest=1, train=2)
            assert wait_until(lambda: b"epoch 1" in shared.output("train").read_bytes(), 120)
            send(shared.kafka, map(upload, range(20, 40)))
            assert wait_until(lambda: count_uploads(hub, shared) == 40, 240), "ingestion stood still"
            assert training.poll() is None, "the training ended too early to show anything"
            training.send_signal(signal.SIGTERM)
            assert training.wait(60) == 143
        shared.await_cores(ingest=1)
        ingest.send_signal(signal.SIGTERM)
        assert ingest.wait(60) == 143
    assert "40 accepted" in shared.output("ingest").read_text()
    shared.await_cores()


def test_a_training_says_who_holds_its_cores_and_starts_when_they_are_free(shared: Shared, hub: Hub) -> None:
    train = "train", "--dataset", DATASET, "--workers", "2", "--epochs", "1"
    with shared.started("ingest", HUB__SPARK__INGEST_CORES="3") as ingest:
        shared.await_cores(ingest=3)
        refused = hub(*train, HUB__SPARK__WAIT_SECONDS="8", **shared.variables)
        waits, error = refused.stderr.splitlines()
        assert refused.status == 1
        assert waits.startswith("hub train: waiting for 2 cores; hub ingest holds 3 (spark://127.0.0.1:")
        assert "--workers 2 still waits for 2 of the 3 cores" in error
        assert "hub ingest holds 3: stop that command or give it fewer cores" in error
        with shared.started(*train) as training:
            assert wait_until(lambda: b"hub ingest holds 3" in shared.output("train").read_bytes(), 60)
            ingest.send_signal(signal.SIGTERM)
            assert training.wait(200) == 0, shared.output("train").read_text()


def test_with_dynamic_allocation_an_ingestion_without_uploads_gives_its_cores_back(
    shared: Shared, hub: Hub
) -> None:
    with shared.started("ingest", HUB__SPARK__DYNAMIC_ALLOCATION="true") as ingest:
        send(shared.kafka, map(upload, range(20)))
        shared.await_cores(ingest=1)
        assert wait_until(lambda: count_uploads(hub, shared) == 20, 240)
        shared.await_cores(ingest=0)
        send(shared.kafka, map(upload, range(20, 40)))
        assert wait_until(lambda: count_uploads(hub, shared) == 40, 240)
        ingest.send_signal(signal.SIGTERM)
        assert ingest.wait(60) == 143
    assert "waiting for" not in shared.output("ingest").read_text(), "a pause is no wait"
