"""Two workers beside one on a real cluster: the same weights, as far as the arithmetic allows."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from conf.settings import Settings
from lake.snapshot import DatasetSnapshot
from models.plan import TrainingPlan, WorkerTask
from models.registry import model_cards
from models.runs.cluster import run
from models.workers.checkpoints import Checkpoints
from tests.models.runs.test_cluster import plan
from tests.support import tiny

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("by_value")]


def only_train(task: WorkerTask, context: Any) -> None:
    """Train without evaluation and export: TFLite knows no float64."""
    from models.workers.worker_main import run_worker

    run_worker(task, context, lambda worker: worker.train())


def weights_after(
    settings: Settings, cluster: "SparkSession", snapshot: DatasetSnapshot, chosen: TrainingPlan, name: str
) -> list[Any]:
    storage = model_cards.artifact_storage(settings, name)

    def task(address: tuple[str, int], authkey: bytes) -> WorkerTask:
        return WorkerTask(chosen, name, snapshot, storage, address, authkey)

    run(cluster, only_train, task, chosen.workers, settings.train, bar=False)
    newest = Checkpoints(storage.subfolder("checkpoints")).newest()
    assert newest and newest.epochs == chosen.epochs
    return list(newest.values)


@pytest.mark.faults
def test_two_workers_scale_their_loss_alike_in_half_precision(
    settings: Settings, cluster: "SparkSession"
) -> None:
    snapshot = tiny.snapshot(settings, "exact", (32, 5, 0))
    half = plan(settings, dataset_id="exact", epochs=4, augment=False, precision="mixed_float16")
    values = weights_after(settings, cluster, snapshot, half, "half")
    assert all(np.isfinite(value).all() for value in values)
    *_, scale, good = values
    assert float(scale) == 2**15 and float(good) == 4  # four steps, none of them skipped
    full = weights_after(settings, cluster, snapshot, replace(half, precision="float32"), "full")
    assert len(values) == len(full) + 2
    for ours, theirs in zip(values, full, strict=False):
        assert np.abs(ours - theirs).max() <= 0.05 * max(1.0, float(np.abs(theirs).max()))


# Each step makes differences several times larger.
@pytest.mark.parametrize(
    ("floatx", "steps", "difference"),
    [("float64", 4, 1e-12), pytest.param("float32", 1, 5e-4, marks=pytest.mark.faults)],
)
def test_two_workers_do_what_one_does_with_the_combined_batch(
    floatx: str, steps: int, difference: float, settings: Settings, cluster: "SparkSession"
) -> None:
    snapshot = tiny.snapshot(settings, "exact", (32, 5, 0))
    exact = plan(settings, dataset_id="exact", epochs=steps, augment=False, floatx=floatx)
    two = weights_after(settings, cluster, snapshot, exact, f"{floatx}-2")
    one = weights_after(settings, cluster, snapshot, replace(exact, workers=1, batch_size=32), f"{floatx}-1")
    assert len(one) == len(two) and all(value.dtype == floatx for value in one if value.ndim)

    def apart(ours: Any, theirs: Any) -> float:
        return float(np.abs(ours - theirs).max() / max(1.0, np.abs(ours).max()))

    assert max(map(apart, one, two)) <= difference


@pytest.mark.faults  # slow
def test_a_resumed_run_with_local_normalization_ends_like_an_undisturbed_one(
    settings: Settings, cluster: "SparkSession"
) -> None:
    """Local moving statistics are averaged after each epoch; without that, the second run would differ."""
    snapshot = tiny.snapshot(settings, "exact", (32, 5, 0))
    local = plan(settings, dataset_id="exact", epochs=2, normalization="local")
    whole = weights_after(settings, cluster, snapshot, local, "local-whole")
    first = model_cards.artifact_storage(settings, "local-whole").subfolder("checkpoints")
    second = model_cards.artifact_storage(settings, "local-resumed").subfolder("checkpoints")
    early = "epoch-00001/variables.npz"
    second.write(early, first.read(early))
    resumed = weights_after(settings, cluster, snapshot, local, "local-resumed")
    assert all(map(np.array_equal, whole, resumed))
    together = replace(local, normalization="synchronized")
    assert not all(
        map(np.array_equal, whole, weights_after(settings, cluster, snapshot, together, "together"))
    )
