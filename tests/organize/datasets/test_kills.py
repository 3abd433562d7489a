"""SIGKILL in each step of writing a dataset, then the same command again: the same files and tables."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from conf.sections import Lake
from conf.settings import Settings
from lake import row_writer, tables
from lake.table import Table
from tests.organize.datasets.test_snapshot import fill
from tests.support.commands import ROOT

pytestmark = [pytest.mark.services, pytest.mark.faults]

_ENVIRONMENT = {
    "HUB__ORGANIZE__SHARD_ROWS": "16",
    "HUB__ORGANIZE__ROW_GROUP_ROWS": "8",
    "HUB__LABELS__READY_IMAGES": "10",
}

# `kill` replaces the function before which the process dies.
_PREPARE = """
import os, signal
from conf import settings as configuration
from lake.spark import session
from organize.datasets import dataset
settings = configuration.load()
def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
place = {place!r}
if place:
    module, _, name = place.partition(":")
    owner = __import__(module, fromlist=["x"])
    for part in name.split(".")[:-1]:
        owner = getattr(owner, part)
    setattr(owner, name.rpartition(".")[2], kill)
"""
_ORGANIZE = """
spark = session.start(settings, "organize")
print(dataset.organize(spark, settings).dataset_id)
spark.stop()
"""
_STEPS = [
    "organize.datasets.dataset:_Run._save",
    "organize.datasets.dataset:_Run._write",
    "organize.datasets.snapshot_writer:write_snapshot",
    "organize.datasets.snapshot_writer:replace",  # shards are written, the manifest is not
    "organize.datasets.dataset:_register",
]


@pytest.fixture(scope="module")
def lakes(
    settings: Settings, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> list[Settings]:
    """Two lakes with the same samples: undisturbed, and killed."""
    folder = tmp_path_factory.mktemp("kills")
    own = settings.model_copy(update={"lake": Lake(root=str(folder / "undisturbed"))})
    tables.create(spark, own.lake)
    fill(spark, own)
    shutil.copytree(own.lake.root, folder / "killed")
    return [own, settings.model_copy(update={"lake": Lake(root=str(folder / "killed"))})]


def _run(own: Settings, place: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _PREPARE.format(place=place) + _ORGANIZE]
    environment = os.environ | _ENVIRONMENT | {"HUB__LAKE__ROOT": own.lake.root}
    return subprocess.run(
        command, cwd=ROOT, env=environment, timeout=200, capture_output=True, text=True, check=False
    )


def _finished(own: Settings) -> str:
    done = _run(own)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def _tables(own: Settings) -> dict[str, list[dict[str, Any]]]:
    columns = {
        Table.SAMPLES: ("image_id", "label", "split", "duplicate_group"),
        Table.DATASETS: ("dataset_id", "filter", "seed", "labels", "counts", "manifest_sha256", "left_out"),
    }
    return {
        table.value: sorted(row_writer.read(own, table, names), key=lambda row: str(row[names[0]]))
        for table, names in columns.items()
    }


def test_killed_in_each_step_and_run_again_a_dataset_is_the_same(lakes: list[Settings]) -> None:
    undisturbed, killed = lakes
    made = _finished(undisturbed)
    for place in _STEPS:
        assert _run(killed, place).returncode == -9, f"killed before {place}"
    assert _finished(killed) == made
    snapshots = [_files(Path(own.lake.at("snapshots"))) for own in lakes]
    assert snapshots[0] == snapshots[1] and len(snapshots[0]) > 4
    assert _tables(killed) == _tables(undisturbed)
