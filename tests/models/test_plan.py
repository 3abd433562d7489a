"""What a plan leaves to the workers where they have GPUs; and cores of a local cluster."""

import os
from pathlib import Path

import pytest

from conf.errors import UsageError
from conf.settings import Settings
from models import plan as plans
from models.plan import TrainingPlan
from models.runs import executors
from models.runs.preflight import check_trainable
from tests.support import tiny


@pytest.fixture
def with_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine has a GPU."""
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(plans, "_GPU", tmp_path / "nvidia0")


@pytest.fixture
def without_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine has none."""
    monkeypatch.setattr(plans, "_GPU", tmp_path / "none")


def on(settings: Settings, **spark: object) -> Settings:
    return settings.model_copy(update={"spark": settings.spark.model_copy(update=spark)})


@pytest.mark.usefixtures("without_gpu")
def test_the_batch_is_the_architecture_s_without_gpus_and_the_workers_choice_with_them(
    settings: Settings,
) -> None:
    assert TrainingPlan.of(settings, "any", 1).batch_size == 64
    assert TrainingPlan.of(on(settings, train_gpus=2), "any", 1).batch_size is None
    assert TrainingPlan.of(on(settings, train_gpus=2), "any", 1, batch_size=48).batch_size == 48


@pytest.mark.usefixtures("with_gpu")
def test_a_gpu_of_this_machine_counts_only_where_the_workers_run_here(settings: Settings) -> None:
    assert TrainingPlan.of(settings, "any", 1).batch_size is None
    assert TrainingPlan.of(on(settings, train_master="spark://m:7077"), "any", 1).batch_size == 64


@pytest.mark.usefixtures("with_gpu")
def test_a_plan_without_batch_size_can_be_trained(settings: Settings) -> None:
    snapshot = tiny.snapshot(settings, "for-gpus", (32, 5, 0))
    for objective in ("labels", "triplet"):
        check_trainable(TrainingPlan.of(settings, "for-gpus", 1, objective=objective), snapshot)
    with pytest.raises(UsageError, match="--batch-size 0: must be 1 or more"):
        check_trainable(TrainingPlan.of(settings, "for-gpus", 1, batch_size=0), snapshot)


def test_xla_is_refused_with_determinism(settings: Settings) -> None:
    snapshot = tiny.snapshot(settings, "for-gpus", (32, 5, 0))
    with pytest.raises(UsageError, match=r"train.jit = on does not go with train.deterministic"):
        check_trainable(TrainingPlan.of(settings, "for-gpus", 1, jit="on", deterministic=True), snapshot)
    check_trainable(TrainingPlan.of(settings, "for-gpus", 1, deterministic=True), snapshot)


def test_a_local_worker_takes_the_cores_of_the_setting_and_beside_a_gpu_all(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)))
    monkeypatch.setattr(plans, "_GPU", tmp_path / "none")
    assert executors.local_cores(settings, 2) == 1
    assert executors.local_cores(on(settings, train_cores=4), 2) == 4
    assert executors.local_cores(on(settings, train_cores=12), 2) == 8  # there are no more
    assert executors.local_cores(on(settings, train_cores=12), 32) == 1
    monkeypatch.setattr(plans, "_GPU", tmp_path)
    assert executors.local_cores(settings, 2) == 8


def test_spark_submit_keeps_its_own_cores(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from lake.spark import session
    from models.runs import cluster

    def properties(**spark: object) -> dict[str, str]:
        given: dict[str, str] = {}
        monkeypatch.setattr(session, "start", lambda *positional, **named: given.update(named))
        cluster.start_session(on(settings, **spark), 1)
        return given

    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3})
    assert properties(train_cores=3)["spark__task__cpus"] == "3"
    assert "spark__task__cpus" not in properties(train_cores=3, train_master="spark://m:7077")
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "4040")
    assert "spark__task__cpus" not in properties(train_cores=3)
