"""SIGKILL in the middle of each step, then the same command again: the tables of an undisturbed run."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession

from conf.sections import Lake
from conf.settings import Settings
from lake import row_writer
from lake.table import Table
from tests.organize.embedded_lake import MODEL, blobs, fill
from tests.support.commands import ROOT

pytestmark = [pytest.mark.services, pytest.mark.faults]

_SAMPLES = (
    "image_id", "label", "label_source", "flags", "label_quality", "suggested_label", "label_reason",
    "cluster", "overall_cluster", "cluster_distance", "outlier", "overall_distance", "overall_outlier",
)  # fmt: skip
_CLUSTERS = ("cluster", "label", "centroid", "size", "radius", "common_label", "common_share")

# The last line of each script is the step. `kill` replaces the function before which the process dies.
_PREPARE = """
import os, signal
from conf import settings as configuration
from lake.spark import session
from organize.clusters import formation
from organize.labels import check
settings = configuration.load()
def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
if {module!r}:
    __import__({module!r}, fromlist=["x"]).__dict__[{name!r}] = kill
spark = session.start(settings, "labels")
"""
_FORM, _CHECK = (
    f"formation.form(spark, settings, {MODEL!r})",
    f"check.check_labels(spark, settings, {MODEL!r})",
)
_KILLS = [
    (_FORM, "organize.clusters.formation", "_write"),
    (_FORM, "organize.clusters.formation", "save_assignment"),
    (_FORM, "organize.clusters.suggestion", "with_suggestion"),
    (_CHECK, "organize.labels.check", "write"),
    (_CHECK, "organize.labels.check", "summarize"),
]


@pytest.fixture
def lakes(settings: Settings, spark: SparkSession, tmp_path: Path) -> list[Settings]:
    """Two lakes with the same samples."""
    random = np.random.default_rng(4)
    truth = random.integers(0, 3, 120)
    labels = [
        ("cat", "dog", "owl")[each] for each in np.where(random.random(120) < 0.1, (truth + 1) % 3, truth)
    ]
    made = [
        settings.model_copy(update={"lake": Lake(root=str(tmp_path / name / "lake"))})
        for name in ("undisturbed", "killed")
    ]
    for own in made:
        fill(spark, own, labels, blobs(truth.tolist()))
    return made


def _run(own: Settings, step: str, module: str = "", name: str = "") -> int:
    script = _PREPARE.format(module=module, name=name) + step
    environment = os.environ | {"HUB__LAKE__ROOT": own.lake.root}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, env=environment, timeout=200, capture_output=True, check=False)
    return done.returncode


def _tables(own: Settings) -> dict[str, list[dict[str, Any]]]:
    return {
        table.value: sorted(row_writer.read(own, table, columns), key=lambda row: row[columns[0]])
        for table, columns in ((Table.SAMPLES, _SAMPLES), (Table.CLUSTERS, _CLUSTERS))
    }


def test_killed_steps_give_the_same_tables_when_they_run_again(lakes: list[Settings]) -> None:
    undisturbed, killed = lakes
    assert _run(undisturbed, f"{_FORM}; {_CHECK}") == 0
    for step, module, name in _KILLS:
        # The check comes after a formation that was not disturbed any more.
        before = f"{_FORM}; " if step == _CHECK else ""
        assert _run(killed, before + step, module, name) == -9, f"killed before {name}"
    assert _run(killed, _CHECK) == 0
    assert _tables(killed) == _tables(undisturbed)
