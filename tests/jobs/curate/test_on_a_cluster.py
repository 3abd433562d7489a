"""The commands that organize, on a real standalone cluster: the same tables as on one machine."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conf.sections import Kafka, Lake
from conf.settings import Settings
from lake import row_writer
from lake.pictures.pixels import encode_jpeg
from lake.table import Table
from streaming.contract.record import Upload
from tests.support.clusters import standalone
from tests.support.clusters.standalone import Cluster
from tests.support.commands import Hub, hub_command
from tests.support.media import scenes
from tests.support.uploads import send, upload
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.services, pytest.mark.faults]

PICTURES, LATER = 90, 6
_LABELS = ("cat", "dog", "owl")
_ORGANIZED = ("image_id", "label", "duplicate_group", "cluster", "overall_cluster", "label_quality")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with standalone.running(tmp_path_factory.mktemp("cluster"), 3, "6g") as cluster:
        yield cluster


def photograph(number: int) -> Upload:
    """An upload; every tenth shows the picture before it at half the size."""
    is_copy = number % 10 == 9
    rgb = scenes.scene(number - 1 if is_copy else number)
    rgb = rgb[::2, ::2].copy() if is_copy else rgb
    return upload(number, label=_LABELS[number // 10 % 3], content=encode_jpeg(rgb, 92))


def lake_of(settings: Settings, folder: Path) -> Settings:
    return settings.model_copy(update={"lake": Lake(root=str(folder / "lake"))})


def variables_of(folder: Path, kafka: Kafka) -> dict[str, str]:
    return {
        "HUB__LAKE__ROOT": str(folder / "lake"),
        "HUB__LOGS__DIR": str(folder / "logs"),
        "HUB__INGEST__INDEX_DIR": str(folder / "index"),
        "HUB__ORGANIZE__INDEX_DIR": str(folder / "vectors"),
        "HUB__CLUSTERS__MIN_IMAGES": "10",
        "HUB__LABELS__READY_IMAGES": "10",
        "HUB__KAFKA__BOOTSTRAP": kafka.bootstrap,
        "HUB__KAFKA__TOPIC": kafka.topic,
        "HUB__KAFKA__REJECTED_TOPIC": kafka.rejected_topic,
        "HUB__KAFKA__VERDICTS_TOPIC": kafka.verdicts_topic,
    }


def organized(own: Settings) -> dict[str, dict[str, Any]]:
    return {row["image_id"]: row for row in row_writer.read(own, Table.SAMPLES, _ORGANIZED)}


def done(hub: Hub, variables: dict[str, str], *arguments: str) -> Any:
    finished = hub(*arguments, "--json", **variables)
    assert finished.status == 0, f"{arguments}: {finished.stderr[-2000:]}"
    return json.loads(finished.stdout)


def test_what_is_organized_on_a_cluster_equals_what_is_organized_here(
    settings: Settings, cluster: Cluster, kafka: Kafka, hub: Hub, tmp_path: Path
) -> None:
    send(kafka, map(photograph, range(PICTURES)))
    here, there = tmp_path / "here", tmp_path / "cluster"
    variables = variables_of(here, kafka)
    done(hub, variables, "ingest", "--once")
    shutil.copytree(here, there)
    made = []
    for folder, more in ((here, {}), (there, cluster.variables)):
        variables = variables_of(folder, kafka) | more
        counts = done(hub, variables, "organize", "--once")
        assert [counts[key] for key in ("embedded", "grouped", "clustered", "scored")] == [PICTURES] * 4
        dataset = done(hub, variables, "organize", "--best-of-group")["dataset_id"]
        made.append((organized(lake_of(settings, folder)), dataset))
    assert made[0] == made[1]
    samples, dataset = made[1]
    groups = [row["duplicate_group"] for row in samples.values()]
    assert len(set(groups)) == PICTURES * 9 // 10
    for arguments in (
        ("clusters", "--form"),
        ("labels", "check"),
        ("datasets", "verify", dataset),
        ("datasets", "export", dataset, "--format", "folder", "--to", str(tmp_path / "exported")),
    ):
        done(hub, variables, *arguments)
    assert sum(1 for _ in (tmp_path / "exported").glob("*/*/*.jpg")) == len(set(groups))
    assert organized(lake_of(settings, there)) == samples

    own = lake_of(settings, there)
    output = tmp_path / "follow.out"
    with output.open("wb") as file:
        command = hub_command("organize", "--follow")
        following = subprocess.Popen(command, env=os.environ | variables, stdout=file, stderr=file)
        try:
            assert wait_until(lambda: b"following the ledger" in output.read_bytes(), 120), output.read_text()
            send(kafka, map(photograph, range(PICTURES, PICTURES + LATER)))
            done(hub, variables, "ingest", "--once")
            assert wait_until(lambda: _all_organized(own), 120), output.read_text()
            following.send_signal(signal.SIGTERM)
            assert following.wait(60) == 143, output.read_text()
        finally:
            following.kill()
            following.wait()
    similar = done(hub, variables, "similar", next(iter(samples)), "--k", "3")
    assert len(similar["matches"]) == 3


def _all_organized(own: Settings) -> bool:
    rows = organized(own).values()
    return len(rows) == PICTURES + LATER and all(row["cluster"] and row["duplicate_group"] for row in rows)
