"""A driver that is killed in the middle of a run, and the same command run again."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, QueryBuilder

from conf.sections import Lake
from conf.settings import Settings
from lake.table import Table
from models.registry import model_cards
from models.runs.training_run import mark_abandoned_runs
from models.workers.checkpoints import Checkpoint, Checkpoints
from tests.support import processes, tiny
from tests.support.commands import hub_command
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.services, pytest.mark.faults]

COMMAND = ("train", "--dataset", "cut-off", "--epochs", "4", "--batch-size", "16", "--json")


@pytest.fixture(scope="module")
def own(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings with a lake that no other test has, and a dataset in it."""
    own = settings.model_copy(update={"lake": Lake(root=str(tmp_path_factory.mktemp("lake")))})
    tiny.snapshot(own, "cut-off")
    return own


@contextmanager
def driver(own: Settings) -> Iterator[subprocess.Popen[str]]:
    """`hub train` in a process group of its own, which is gone after the block."""
    process = subprocess.Popen(
        hub_command(*COMMAND),
        env=os.environ | {"HUB__LAKE__ROOT": own.lake.root},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)


def trained(own: Settings) -> tuple[dict[str, Any], str]:
    with driver(own) as process:
        out, err = process.communicate(timeout=1500)
        assert process.returncode == 0, err
    results: dict[str, Any] = json.loads(out)
    return results, err


def checkpoints(own: Settings, model_id: str) -> Checkpoints:
    return Checkpoints(model_cards.artifact_storage(own, model_id).subfolder("checkpoints"))


def newest(own: Settings, model_id: str) -> Checkpoint:
    found = checkpoints(own, model_id).newest()
    assert found
    return found


def rows(own: Settings) -> dict[str, str]:
    """States by model id."""
    table = DeltaTable(own.lake.at(Table.MODELS))
    query = QueryBuilder().register("models", table).execute("select model_id, state from models")
    listed = pa.table(query.read_all()).to_pylist()
    assert len({row["model_id"] for row in listed}) == len(listed)
    return {row["model_id"]: row["state"] for row in listed}


def killed_after_an_epoch(own: Settings) -> str:
    """Kill the driver alone when there is a checkpoint; all that it started ends by itself."""
    with driver(own) as process:
        assert wait_until(lambda: process.poll() is not None or _epochs(own) != [], 400)
        started = processes.descendants(process.pid)
        assert len(started) >= 4, process.communicate()  # JVM, executors, daemons, workers
        process.kill()
        process.wait(30)
        assert wait_until(lambda: not any(processes.runs(pid) for pid in started), 60)
    (model_id,) = rows(own)
    return model_id


def _epochs(own: Settings) -> list[Path]:
    return list(Path(own.lake.at("artifacts")).glob("*/checkpoints/epoch-*/variables.npz"))


def test_the_same_command_resumes_after_its_driver_was_killed_and_ends_with_the_same_weights(
    own: Settings,
) -> None:
    model_id = killed_after_an_epoch(own)
    assert rows(own) == {model_id: "training"}
    before = checkpoints(own, model_id).epochs()[-1]
    again, errors = trained(own)
    assert again["model_id"] == model_id and again["resumed_from"] >= before >= 1
    assert f"resuming {model_id} after epoch {before}" in errors
    assert again["epochs"] == 4 and again["restarts"] == 0
    assert rows(own) == {model_id: "ready"}
    history = model_cards.artifact_storage(own, model_id).read("history.csv").decode().splitlines()
    assert [line.split(",")[0] for line in history] == ["epoch", "1", "2", "3", "4"]
    # A third time the same command starts a new run, with the same weights.
    anew, _ = trained(own)
    assert anew["model_id"] != model_id and anew["resumed_from"] is None
    assert 0 < anew["seconds_after_last_step"] < anew["seconds"]
    ours, theirs = newest(own, model_id), newest(own, anew["model_id"])
    assert ours.names == theirs.names and ours.epochs == theirs.epochs == 4
    assert all(np.array_equal(a, b) for a, b in zip(ours.values, theirs.values, strict=True))
    assert rows(own) == {model_id: "ready", anew["model_id"]: "ready"} and mark_abandoned_runs(own) == []
