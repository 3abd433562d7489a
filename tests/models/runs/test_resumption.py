"""Which run a command goes on with, and the rows of those whose driver has gone; no Spark, no workers."""

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
from lake.schemas import Table
from lake.snapshot import Snapshot
from lake.storage import Storage
from models.errors import ForeignCheckpoint
from models.inference import catalogue
from models.plan import TrainingPlan
from models.registry import model_cards, model_rows
from models.registry.model_cards import State
from models.runs import resumption
from models.runs.training_run import mark_abandoned_runs
from models.workers.checkpoints import Checkpoint, CheckpointOwner, Checkpoints
from models.workers.initial_weights import InitialWeights
from tests.support import tiny
from tests.support.s3server import Bucket


@pytest.fixture
def own(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings.model_copy(update={"lake": Lake(root=str(tmp_path_factory.mktemp("lake")))})


@pytest.fixture
def snapshot(own: Settings) -> Snapshot:
    return tiny.snapshot(own, "small", (8, 4, 4))


def plan(own: Settings, **given: Any) -> TrainingPlan:
    return TrainingPlan.of(own, "small", 2, **given)


def found(own: Settings) -> list[dict[str, Any]]:
    table = DeltaTable(own.lake.at(Table.MODELS))
    query = QueryBuilder().register("models", table).execute("select * from models order by created")
    return pa.table(query.read_all()).to_pylist()


def test_a_run_that_was_cut_off_is_gone_on_with_by_the_same_plan_only(
    own: Settings, snapshot: Snapshot
) -> None:
    with resumption.run_locked(own, plan(own), snapshot, None) as first:
        assert first.epochs is None
    with resumption.run_locked(own, plan(own, seed=8), snapshot, None) as other:
        assert other.model_id != first.model_id and other.epochs is None
    with resumption.run_locked(own, plan(own), snapshot, InitialWeights((np.ones(2),))) as started:
        assert started.model_id not in (first.model_id, other.model_id)
    with resumption.run_locked(own, plan(own), snapshot, None) as again:
        assert again.model_id == first.model_id and again.epochs == 0
        again.close()
    with resumption.run_locked(own, plan(own), snapshot, None) as fresh:
        assert fresh.model_id != first.model_id and fresh.epochs is None


def test_the_same_command_twice_at_once_makes_two_runs(own: Settings, snapshot: Snapshot) -> None:
    with (
        resumption.run_locked(own, plan(own), snapshot, None) as one,
        resumption.run_locked(own, plan(own), snapshot, None) as two,
    ):
        assert one.model_id != two.model_id and one.epochs is two.epochs is None
        assert resumption.abandoned_runs(own) == []


def test_a_run_whose_driver_has_gone_is_marked_as_failed_once_and_keeps_its_row(
    own: Settings, snapshot: Snapshot
) -> None:
    with resumption.run_locked(own, plan(own), snapshot, None) as claim:
        model_rows.begin(own, claim.model_id, plan(own), snapshot.labels)
        assert mark_abandoned_runs(own) == []  # it is held
        assert [card.state for card in catalogue.listed(own)] == [State.TRAINING]
    assert mark_abandoned_runs(own) == [claim.model_id]
    assert mark_abandoned_runs(own) == []
    (row,) = found(own)
    assert row["state"] == "failed" and row["detail"].startswith("its driver ended without a word")
    with resumption.run_locked(own, plan(own), snapshot, None) as again:
        model_rows.begin(own, again.model_id, plan(own), snapshot.labels, resumed=True)
    (row,) = found(own)
    assert (row["model_id"], row["state"], row["detail"]) == (claim.model_id, "training", None)
    assert [card.state for card in catalogue.listed(own)] == [State.FAILED]  # and cut off again


def test_a_run_that_died_before_it_had_a_row_stands_in_nobodys_way(own: Settings, snapshot: Snapshot) -> None:
    with resumption.run_locked(own, plan(own), snapshot, None) as claim:
        pass
    assert mark_abandoned_runs(own) == [claim.model_id]
    with resumption.run_locked(own, plan(own), snapshot, None) as again:
        model_rows.begin(own, again.model_id, plan(own), snapshot.labels, resumed=True)
    (row,) = found(own)
    assert (row["model_id"], row["state"], row["architecture"]) == (claim.model_id, "training", "resnet20")


def test_epochs_are_counted_by_the_newest_checkpoint_that_is_whole(own: Settings, snapshot: Snapshot) -> None:
    with resumption.run_locked(own, plan(own), snapshot, None) as claim:
        pass
    of = CheckpointOwner("resnet20", "small", claim.entry.run)
    checkpoints = Checkpoints(model_cards.artifacts(own, claim.model_id).below("checkpoints"), of, keep=3)
    for epochs in (1, 2, 3, 4):
        checkpoints.write(Checkpoint(epochs, (np.full(4, epochs),), ("head/kernel",)))
    assert checkpoints.epochs() == [2, 3, 4]
    name = "epoch-00004/variables.npz"
    damaged = bytearray(checkpoints.storage.read(name))
    damaged[100] ^= 1
    checkpoints.storage.write(name, bytes(damaged))
    with resumption.run_locked(own, plan(own), snapshot, None) as again:
        assert again.epochs == 3


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        (CheckpointOwner("resnet32", "small", "1"), "is of a resnet32 on small, not of a resnet20 on small"),
        (CheckpointOwner("resnet20", "large", "1"), "is of a resnet20 on large, not of"),
        (CheckpointOwner("resnet20", "small", "1"), "with other settings or pictures"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_before_any_cluster_time(
    theirs: CheckpointOwner, said: str, own: Settings, snapshot: Snapshot
) -> None:
    with resumption.run_locked(own, plan(own), snapshot, None) as claim:
        pass
    place = model_cards.artifacts(own, claim.model_id).below("checkpoints")
    Checkpoints(place, theirs).write(Checkpoint(1, (np.ones(2),)))
    with (
        pytest.raises(ForeignCheckpoint, match=said) as caught,
        resumption.run_locked(own, plan(own), snapshot, None),
    ):
        pass
    assert "move" in str(caught.value) and "\n" not in str(caught.value)


def test_rows_are_added_and_changed_by_their_key(own: Settings) -> None:
    now = datetime.now(UTC)
    for name in ("a", "b"):
        row_writer.append(own, Table.MODELS, {"model_id": name, "workers": 2, "created": now})
    changed = {"model_id": "b", "state": "ready", "metrics": {"test_accuracy": 0.5}}
    assert row_writer.update(own, Table.MODELS, "model_id", changed) == 1
    assert row_writer.update(own, Table.MODELS, "model_id", {"model_id": "c", "state": "ready"}) == 0
    first, second = sorted(found(own), key=lambda row: str(row["model_id"]))
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
    model_rows.begin(far, "a", plan(own), ("x", "y"))
    model_rows.begin(far, "b", plan(own), ("x", "y"))
    model_rows.end(far, "a", {"test_accuracy": 0.5})
    model_rows.end(far, "b", None, "no reason")
    assert row_writer.update(far, Table.MODELS, "model_id", {"model_id": "c", "state": "ready"}) == 0


@pytest.mark.services
def test_a_run_is_held_on_s3_as_well(bucket: Bucket) -> None:
    uri = f"s3a://{bucket.name}/lake/runs/1/a.lock"
    holder = LockHolder.this("train")
    with (
        lease.held(uri, bucket.s3, 60, holder),
        pytest.raises(InUse, match=rf"in use by `hub train` on .*, pid {os.getpid()}"),
        lease.held(uri, bucket.s3, 60, LockHolder.this("train")),
    ):
        pass
    with lease.held(uri, bucket.s3, 60, LockHolder.this("train")):
        pass
