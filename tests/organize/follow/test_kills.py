"""`hub organize` that is killed between any two steps, and run again, leaves the same tables."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from conf.sections import Lake
from conf.settings import Settings
from lake import tables
from lake.table import Table
from organize.features import network_file
from organize.features.embedder import embedder_of
from tests.organize.lakes import add_samples, add_uploads
from tests.support.commands import ROOT, Hub, hub_command
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.services, pytest.mark.faults]

IMAGES, CHUNK = 40, 8
MODEL = "efficientnet-lite0-128"


def environment(folder: Path) -> dict[str, str]:
    return {
        "HUB__LAKE__ROOT": str(folder / "lake"),
        "HUB__ORGANIZE__INDEX_DIR": str(folder / "vectors"),
        "HUB__ORGANIZE__CHUNK_IMAGES": str(CHUNK),
        "HUB__SPARK__DRIVER_MEMORY": "1g",
        "PYTHONPATH": str(ROOT),
    }


@pytest.fixture(scope="module")
def filled(settings: Settings, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a lake of samples that are not organized yet."""
    folder = tmp_path_factory.mktemp("kills")
    own = settings.model_copy(update={"lake": Lake(root=str(folder / "lake"))})
    tables.create(spark, own.lake)
    for first in range(0, IMAGES, 10):
        add_uploads(spark, own, range(first, first + 10))
    add_samples(spark, own, range(IMAGES))
    network_file.get_or_create(own, embedder_of(own))
    return folder


@pytest.fixture(scope="module")
def undisturbed(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `hub organize --once` makes of a copy of that lake."""
    folder = tmp_path_factory.mktemp("undisturbed") / "hub"
    shutil.copytree(filled, folder)
    done = subprocess.run(
        hub_command("organize", "--once"), env=os.environ | environment(folder), timeout=300, check=False
    )
    assert done.returncode == 0
    return content(folder)


def content(folder: Path) -> dict[str, Any]:
    """Rows of the tables that organizing writes, without times."""
    found: dict[str, Any] = {}
    for table in Table:
        if table not in (Table.UPLOADS, Table.DATASETS, Table.MODELS, Table.LABELS):
            rows = DeltaTable(str(folder / "lake" / table)).to_pyarrow_dataset().to_table().to_pylist()
            plain = [{name: value for name, value in row.items() if name != "created"} for row in rows]
            found[table] = sorted(map(repr, plain))
    return found


def embedded(folder: Path) -> int:
    return int(DeltaTable(str(folder / "lake" / Table.EMBEDDINGS)).count())


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "the first chunk is being embedded": lambda folder: (folder / "lake" / "embeddings.lock").exists(),
    "the first embeddings are committed": lambda folder: embedded(folder) >= CHUNK,
    "some stages are done": lambda folder: (
        embedded(folder) >= CHUNK and any((folder / "lake/checkpoints").glob("organized-*.json"))
    ),
    "most is done": lambda folder: embedded(folder) >= IMAGES - CHUNK,
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_run_again_it_leaves_the_same_tables(
    filled: Path, undisturbed: dict[str, Any], hub: Hub, tmp_path: Path, moment: str
) -> None:
    folder = tmp_path / "hub"
    shutil.copytree(filled, folder)
    process = subprocess.Popen(
        hub_command("organize", "--once"), env=os.environ | environment(folder), start_new_session=True
    )
    try:
        wait_until(lambda: MOMENTS[moment](folder) or process.poll() is not None, 200)
        assert process.poll() is None, "it ended before it could be killed"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
    done = hub("organize", "--once", "--json", **environment(folder))
    assert done.status == 0, done.stderr
    assert content(folder) == undisturbed


def test_following_ends_with_sigterm_and_continues(
    filled: Path, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "hub"
    shutil.copytree(filled, folder)
    for reached in (lambda: embedded(folder) >= CHUNK, lambda: content(folder) == undisturbed):
        _follow_until(folder, reached)
    assert content(folder) == undisturbed


def _follow_until(folder: Path, reached: Callable[[], bool]) -> None:
    process = subprocess.Popen(
        hub_command("organize", "--follow"), env=os.environ | environment(folder), start_new_session=True
    )
    try:
        wait_until(lambda: reached() or process.poll() is not None, 200)
        process.terminate()
        assert process.wait(60) == 143
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)
