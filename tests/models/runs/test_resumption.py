"""Resuming unfinished runs, and marking runs without a driver as failed; no Spark, no workers."""

import os
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, QueryBuilder

from conf.sections import Lake
from conf.settings import Settings
from lake import row_writer
from lake.errors import InUse, StorageError
from lake.locks import lease
from lake.locks.lock_holder import LockHolder
from lake.snapshot import DatasetSnapshot
from lake.storage import Storage
from lake.table import Table
from models.errors import CheckpointMismatch, LeaseLost, TrainingFailed
from models.inference import catalogue
from models.plan import TrainingPlan
from models.registry import model_cards, model_rows
from models.registry.model_cards import State
from models.runs import cluster, resumption
from models.runs.launch import SparkJob
from models.runs.resumption import RunLock
from models.runs.run_state import RunState
from models.runs.training_run import TrainingRun, mark_abandoned_runs
from models.workers.checkpoints import Checkpoint, CheckpointOwner, Checkpoints
from models.workers.initial_weights import InitialWeights
from models.workers.message_channel import MessageServer
from tests.support import tiny
from tests.support.s3server import Bucket
from tests.support.waiting import wait_until


@pytest.fixture
def own(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings.model_copy(update={"lake": Lake(root=str(tmp_path_factory.mktemp("lake")))})


@pytest.fixture
def snapshot(own: Settings) -> DatasetSnapshot:
    return tiny.snapshot(own, "small", (8, 4, 4))


def plan(own: Settings, **given: Any) -> TrainingPlan:
    return TrainingPlan.of(own, "small", 2, **given)


def model_table(own: Settings) -> list[dict[str, Any]]:
    table = DeltaTable(own.lake.at(Table.MODELS))
    query = QueryBuilder().register("models", table).execute("select * from models order by created")
    return pa.table(query.read_all()).to_pylist()


def test_an_interrupted_run_is_resumed_by_the_same_plan_only(
    own: Settings, snapshot: DatasetSnapshot
) -> None:
    with resumption.run_locked(own, plan(own), snapshot, None) as first:
        assert first.finished_epochs is None
    with resumption.run_locked(own, plan(own, seed=8), snapshot, None) as other:
        assert other.model_id != first.model_id and other.finished_epochs is None
    with resumption.run_locked(own, plan(own), snapshot, InitialWeights((np.ones(2),))) as started:
        assert started.model_id not in (first.model_id, other.model_id)
    with resumption.run_locked(own, plan(own), snapshot, None) as again:
        assert again.model_id == first.model_id and again.finished_epochs == 0
        again.delete_entry()
    with resumption.run_locked(own, plan(own), snapshot, None) as fresh:
        assert fresh.model_id != first.model_id and fresh.finished_epochs is None


def test_the_same_command_twice_at_once_makes_two_runs(own: Settings, snapshot: DatasetSnapshot) -> None:
    with (
        resumption.run_locked(own, plan(own), snapshot, None) as one,
        resumption.run_locked(own, plan(own), snapshot, None) as two,
    ):
        assert one.model_id != two.model_id and one.finished_epochs is two.finished_epochs is None
        assert resumption.newly_abandoned_runs(own) == []


def test_a_run_without_a_driver_is_marked_as_failed_once_and_keeps_its_row(
    own: Settings, snapshot: DatasetSnapshot
) -> None:
    with resumption.run_locked(own, plan(own), snapshot, None) as lock:
        model_rows.register_run(own, lock.model_id, plan(own), snapshot.labels)
        assert mark_abandoned_runs(own) == []  # its driver holds the lock
        assert [card.state for card in catalogue.list_models(own)] == [State.TRAINING]
    assert mark_abandoned_runs(own) == [lock.model_id]
    assert mark_abandoned_runs(own) == []
    (row,) = model_table(own)
    assert row["state"] == "failed" and row["detail"].startswith(
        "its driver ended without recording a result"
    )
    with resumption.run_locked(own, plan(own), snapshot, None) as again:
        model_rows.register_run(own, again.model_id, plan(own), snapshot.labels, resumed=True)
    (row,) = model_table(own)
    assert (row["model_id"], row["state"], row["detail"]) == (lock.model_id, "training", None)
    assert [card.state for card in catalogue.list_models(own)] == [State.FAILED]  # and interrupted again


def test_a_run_that_died_before_it_had_a_row_can_be_resumed(own: Settings, snapshot: DatasetSnapshot) -> None:
    with resumption.run_locked(own, plan(own), snapshot, None) as lock:
        pass
    assert mark_abandoned_runs(own) == [lock.model_id]
    with resumption.run_locked(own, plan(own), snapshot, None) as again:
        model_rows.register_run(own, again.model_id, plan(own), snapshot.labels, resumed=True)
    (row,) = model_table(own)
    assert (row["model_id"], row["state"], row["architecture"]) == (lock.model_id, "training", "resnet20")


def test_finished_epochs_are_those_of_the_newest_undamaged_checkpoint(
    own: Settings, snapshot: DatasetSnapshot
) -> None:
    with resumption.run_locked(own, plan(own), snapshot, None) as lock:
        pass
    owner = CheckpointOwner("resnet20", "small", lock.entry.run)
    checkpoints = Checkpoints(
        model_cards.artifact_storage(own, lock.model_id).subfolder("checkpoints"), owner, keep=3
    )
    for epochs in (1, 2, 3, 4):
        checkpoints.write(Checkpoint(epochs, (np.full(4, epochs),), ("head/kernel",)))
    assert checkpoints.epochs() == [2, 3, 4]
    name = "epoch-00004/variables.npz"
    damaged = bytearray(checkpoints.storage.read(name))
    damaged[100] ^= 1
    checkpoints.storage.write(name, bytes(damaged))
    with resumption.run_locked(own, plan(own), snapshot, None) as again:
        assert again.finished_epochs == 3


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        (
            CheckpointOwner("resnet32", "small", "1"),
            "belongs to a resnet32 on small, not to a resnet20 on small",
        ),
        (CheckpointOwner("resnet20", "large", "1"), "belongs to a resnet20 on large, not to"),
        (CheckpointOwner("resnet20", "small", "1"), "with other settings or pictures"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_before_any_cluster_time(
    theirs: CheckpointOwner, expected: str, own: Settings, snapshot: DatasetSnapshot
) -> None:
    with resumption.run_locked(own, plan(own), snapshot, None) as lock:
        pass
    place = model_cards.artifact_storage(own, lock.model_id).subfolder("checkpoints")
    Checkpoints(place, theirs).write(Checkpoint(1, (np.ones(2),)))
    with (
        pytest.raises(CheckpointMismatch, match=expected) as caught,
        resumption.run_locked(own, plan(own), snapshot, None),
    ):
        pass
    assert "move" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyboardInterrupt(), "was interrupted"),
        (TrainingFailed("worker 1: no space left"), "failed: worker 1: no space left"),
        (None, "was killed, or its machine stopped"),
    ],
)
@pytest.mark.parametrize("listed", [False, True], ids=["", "after hub models"])
def test_a_resumed_run_says_how_the_earlier_one_ended(
    own: Settings,
    snapshot: DatasetSnapshot,
    capsys: pytest.CaptureFixture[str],
    error: BaseException | None,
    told: str,
    listed: bool,
) -> None:
    with resumption.run_locked(own, plan(own), snapshot, None) as lock:
        run = TrainingRun(own, plan(own), snapshot, lock, False)
        run.prepare(None)
        assert capsys.readouterr().err == ""
        model_rows.register_run(own, lock.model_id, plan(own), snapshot.labels)
        if error:
            with pytest.raises(type(error)), run.record_failure():
                raise error
    if listed:
        catalogue.list_models(own)  # marks runs without a driver as failed
    with resumption.run_locked(own, plan(own), snapshot, None) as again:
        TrainingRun(own, plan(own), snapshot, again, False).prepare(None)
    expected = f"resuming {lock.model_id} after epoch 0: an earlier run of the same command {told}\n"
    assert capsys.readouterr().err == expected


def test_a_run_that_was_killed_before_it_was_registered_says_so(
    own: Settings, snapshot: DatasetSnapshot, capsys: pytest.CaptureFixture[str]
) -> None:
    with resumption.run_locked(own, plan(own), snapshot, None):
        pass
    with resumption.run_locked(own, plan(own), snapshot, None) as again:
        TrainingRun(own, plan(own), snapshot, again, False).prepare(None)
    assert capsys.readouterr().err.endswith("of the same command ended before it began to train\n")


@pytest.mark.services
def test_a_driver_without_its_lease_ends_in_one_line_and_leaves_the_run_to_others(
    own: Settings, bucket: Bucket
) -> None:
    train = own.train.model_copy(update={"lease_seconds": 1.5})
    lake = Lake(root=f"s3a://{bucket.name}/lake")
    far = own.model_copy(update={"lake": lake, "s3": bucket.s3, "train": train})
    small = tiny.snapshot(far, "small", (8, 4, 4))
    with resumption.run_locked(far, plan(far), small, None) as lock:
        run = TrainingRun(far, plan(far), small, lock, False)
        model_rows.register_run(far, lock.model_id, plan(far), small.labels)
        lock.raise_if_lost()
        key = f"lake/runs/{lock.entry.run}/{lock.model_id}.lock"
        other = LockHolder.this_process("train")
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=other.to_json())
        assert wait_until(lambda: bool(lock.losses))
        with pytest.raises(LeaseLost, match=r"another process took the lease s3a://.*; run the same command"):
            wait_for_workers(far, lock)
        with pytest.raises(LeaseLost), run.record_failure():
            lock.raise_if_lost()
        with pytest.raises(LeaseLost), run._entry_deleted_on_error():
            lock.raise_if_lost()
    assert model_cards.any_card(far, lock.model_id).state is State.TRAINING
    assert Storage(far.lake.at("runs", lock.entry.run), far.s3).exists(f"{lock.model_id}.json")


def wait_for_workers(settings: Settings, lock: RunLock) -> None:
    """Wait, as a driver does, for a worker that says nothing, in a Spark job that runs."""
    server = MessageServer("127.0.0.1")
    try:
        job = SparkJob(None, "job")  # type: ignore[arg-type]  # it needs no cluster
        cluster._wait_for_workers(
            RunState(1, 0.0), server, lambda message, state: None, job, settings.train, lock.raise_if_lost
        )
    finally:
        server.close()


def test_rows_are_added_and_changed_by_their_key(own: Settings) -> None:
    now = datetime.now(UTC)
    for name in ("a", "b"):
        row_writer.append(own, Table.MODELS, {"model_id": name, "workers": 2, "created": now})
    changed = {"model_id": "b", "state": "ready", "metrics": {"test_accuracy": 0.5}}
    assert row_writer.update(own, Table.MODELS, "model_id", changed) == 1
    assert row_writer.update(own, Table.MODELS, "model_id", {"model_id": "c", "state": "ready"}) == 0
    first, second = sorted(model_table(own), key=lambda row: str(row["model_id"]))
    assert first["state"] is None and first["workers"] == second["workers"] == 2
    assert second["state"] == "ready" and dict(second["metrics"]) == {"test_accuracy": 0.5}


def test_rows_that_cannot_be_written_are_one_line(own: Settings) -> None:
    Storage(own.lake.root, own.s3).write("models", b"a file where the table goes")
    with pytest.raises(StorageError, match=r"^cannot write .*/models: ") as caught:
        row_writer.append(own, Table.MODELS, {"model_id": "a"})
    assert "\n" not in str(caught.value)


@pytest.mark.services
def test_rows_are_kept_on_s3_as_well(own: Settings, bucket: Bucket) -> None:
    far = own.model_copy(update={"lake": Lake(root=f"s3a://{bucket.name}/lake"), "s3": bucket.s3})
    model_rows.register_run(far, "a", plan(own), ("x", "y"))
    model_rows.register_run(far, "b", plan(own), ("x", "y"))
    model_rows.record_result(far, "a", {"test_accuracy": 0.5})
    model_rows.record_result(far, "b", None, "no reason")
    assert row_writer.update(far, Table.MODELS, "model_id", {"model_id": "c", "state": "ready"}) == 0


@pytest.mark.services
def test_a_run_is_locked_on_s3_as_well(bucket: Bucket) -> None:
    uri = f"s3a://{bucket.name}/lake/runs/1/a.lock"
    holder = LockHolder.this_process("train")
    with (
        lease.held(uri, bucket.s3, 60, holder),
        pytest.raises(InUse, match=rf"in use by `hub train` on .*, pid {os.getpid()}"),
        lease.held(uri, bucket.s3, 60, LockHolder.this_process("train")),
    ):
        pass
    with lease.held(uri, bucket.s3, 60, LockHolder.this_process("train")):
        pass
