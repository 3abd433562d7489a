"""Several devices in one worker, and steps compiled by XLA. Logical processors stand in for GPUs.

TensorFlow takes the number of logical devices once in a process, so trainings run in processes of their own.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conf import settings as configuration
from models.pictures.epoch_plan import Augmentation, plan_epoch
from models.pictures.input_pipeline import InputPipeline
from models.pictures.inputs import BatchSchedule, Pictures
from models.plan import TrainingPlan
from models.workers.tensorflow_setup import configure
from tests.support import tiny
from tests.support.commands import ROOT

BATCH, STEPS = 8, 3


def pictures() -> Pictures:
    random = np.random.default_rng(0)
    images = np.stack([tiny.picture(number % 4, random, 36) for number in range(24)])
    return Pictures(images, np.arange(24, dtype=np.int32) % 4, ("",) * 24)


def train_here(file: str, devices: int, floatx: str, **given: Any) -> None:
    """Train some steps in this process on logical processors; write all variables and the figures."""
    import tensorflow as tf

    plan = TrainingPlan.of(
        configuration.load(), "any", 1, batch_size=BATCH, precision="float32", floatx=floatx, seed=7,
        warmup_epochs=0.0, **given,
    )  # fmt: skip
    configure(plan, 1)
    processor = tf.config.list_physical_devices("CPU")[0]
    logical = [tf.config.LogicalDeviceConfiguration()] * devices
    tf.config.set_logical_device_configuration(processor, logical)
    from models.workers import replicas
    from models.workers.exchange import time_exchange
    from models.workers.learner import Learner

    schedule = BatchSchedule(BATCH, STEPS)
    strategy = replicas.make_strategy(1)
    assert replicas.local_count(strategy) == devices
    learner = Learner(plan, schedule, 4, strategy=strategy)
    pipeline = InputPipeline(
        pictures(), 32, cores=1, replicas=devices, distribute=replicas.device_distributor(strategy)
    )
    batches = pipeline.batches([plan_epoch(24, schedule, 4, Augmentation(flip=True), (1, 2, 3))])
    figures = [learner.step(*batch).numpy() for batch in batches]
    assert len(figures) == STEPS
    learner.sync_moments()
    assert (time_exchange(strategy, learner.model) > 0) == (devices > 1)
    np.savez(file, *figures, *learner.values())


def trained(folder: Path, devices: int, floatx: str, **given: object) -> list[Any]:
    """The figures of each step and all variables after `STEPS` steps."""
    folder.mkdir(exist_ok=True)
    file = folder / f"{devices}-{floatx}-{'-'.join(map(str, given.values()))}.npz"
    code = (
        "from tests.models.workers.test_replicas import train_here\n"
        f"train_here({str(file)!r}, {devices}, {floatx!r}, **{given!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(file) as arrays:
        return [arrays[name] for name in arrays.files]


def apart(one: list[Any], other: list[Any]) -> float:
    """The largest difference of two lists of arrays, relative to values above 1."""
    assert len(one) == len(other)
    return max(
        float(np.abs(a - b).max() / max(1.0, np.abs(a).max())) for a, b in zip(one, other, strict=True)
    )


@pytest.mark.services  # starts processes that train
def test_two_devices_of_a_worker_do_what_one_does_with_the_combined_batch(tmp_path: Path) -> None:
    one, two = (trained(tmp_path, devices, "float64") for devices in (1, 2))
    assert apart(one, two) <= 1e-12
    assert sum(figures[1] for figures in one[:STEPS]) > 0  # correct answers of all pictures of the worker


@pytest.mark.faults  # slow: XLA compiles three times
@pytest.mark.parametrize("normalization", ["synchronized", "local"])
def test_a_step_compiled_by_xla_does_what_the_other_does(normalization: str, tmp_path: Path) -> None:
    plain = trained(tmp_path, 1, "float64", normalization=normalization)
    compiled = trained(tmp_path, 1, "float64", normalization=normalization, jit="on")
    assert 0 < apart(plain, compiled) <= 1e-12  # other operations, the same arithmetic
    if normalization == "local":
        plain = trained(tmp_path, 2, "float64", normalization=normalization)
        compiled = trained(tmp_path, 2, "float64", normalization=normalization, jit="on")
        assert 0 < apart(plain, compiled) <= 1e-12


@pytest.mark.faults  # slow
def test_deterministic_operations_give_the_same_bits_twice(tmp_path: Path) -> None:
    one, other = (trained(tmp_path / name, 1, "float32", deterministic=True) for name in ("one", "other"))
    assert apart(one, other) == 0
    assert apart(one, trained(tmp_path, 1, "float32")) <= 1e-4  # other kernels, the same arithmetic
