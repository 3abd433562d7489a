"""What a worker chooses by its devices: XLA, fused kernels, memory; and who its neighbours are."""

from types import SimpleNamespace
from typing import cast

import pytest

from conf.settings import Settings
from models.plan import TrainingPlan
from models.workers.worker_main import Context, _neighbours


@pytest.mark.parametrize(
    ("gpus", "jit", "deterministic", "expected"),
    [
        (0, "auto", False, False),
        (1, "auto", False, True),
        (1, "auto", True, False),
        (1, "off", False, False),
        (0, "on", False, True),
    ],
)
def test_xla_compiles_on_gpus_unless_told_otherwise(
    gpus: int,
    jit: str,
    deterministic: bool,
    expected: bool,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import tensorflow as tf

    from models.workers import replicas

    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["GPU"] * gpus)
    plan = TrainingPlan.of(settings, "any", 1, jit=jit, deterministic=deterministic)
    assert replicas.compiles(plan) == expected


@pytest.mark.parametrize(
    ("gpus", "deterministic", "normalization", "across", "expected"),
    [
        (1, False, "synchronized", True, True),
        (1, True, "synchronized", True, False),
        (1, True, "synchronized", False, True),
        (1, True, "frozen", False, False),
        (1, True, "local", False, True),
        (0, True, "frozen", True, True),
    ],
)
def test_kernels_without_a_deterministic_gradient_are_left_out_where_it_is_asked_for(
    gpus: int,
    deterministic: bool,
    normalization: str,
    across: bool,
    expected: bool,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import tensorflow as tf

    from models.workers import replicas

    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["GPU"] * gpus)
    plan = TrainingPlan.of(settings, "any", 1, normalization=normalization, deterministic=deterministic)
    assert replicas.fuses_normalization(plan, across) == expected


def test_without_a_gpu_the_batch_is_the_architecture_s_or_that_of_the_resumed_run(settings: Settings) -> None:
    import tensorflow as tf

    from models.workers import replicas

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    plan = TrainingPlan.of(settings, "any", 1)
    strategy = replicas.make_strategy(1)
    assert replicas.device_memory() is None
    assert replicas.agree_on_batch(strategy, plan, 0, 10_000, resumed=0) == 64
    assert replicas.agree_on_batch(strategy, plan, 0, 10_000, resumed=256) == 256


def test_workers_of_one_machine_share_its_memory() -> None:
    nodes = {"chief": ["10.0.0.1:4000"], "worker": ["10.0.0.2:4000", "10.0.0.1:4001"]}
    found = [
        _neighbours(cast(Context, SimpleNamespace(cluster_spec=nodes, executor_id=number)))
        for number in range(3)
    ]
    assert found == [2, 1, 2]
