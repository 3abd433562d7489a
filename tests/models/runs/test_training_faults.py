"""Workers that are killed, hang, or run out of memory or disk: the run restarts, or fails with the cause."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from conf.sections import Train
from conf.settings import Settings
from lake.snapshot import DatasetSnapshot
from models.errors import Diverged, TrainingFailed
from models.messages import Disconnected, Message, Registered, Stepped
from models.plan import TrainingPlan, WorkerTask
from models.registry import model_cards
from models.runs import cluster
from models.runs.run_state import RunState
from models.workers.checkpoints import Checkpoints
from tests.support import processes, tiny
from tests.support.disks import small_disk
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.services, pytest.mark.faults, pytest.mark.usefixtures("by_value")]

EPOCHS = 3
Values = list[NDArray[Any]]


class Runs:
    """Starts runs of one plan on one cluster."""

    def __init__(self, settings: Settings, spark: "SparkSession", snapshot: DatasetSnapshot) -> None:
        self.settings, self.spark, self.snapshot = settings, spark, snapshot
        given = {"epochs": EPOCHS, "batch_size": 16, "warmup_epochs": 1.0}
        self.plan = TrainingPlan.of(settings, "faults", 2, **given)
        self.pids: list[int] = []

    def limits(self, **changed: Any) -> Train:
        return self.settings.train.model_copy(update=changed)

    def run(
        self,
        name: str,
        main: Callable[[WorkerTask, Any], None],
        disturb: Callable[[Message | Disconnected, dict[int, int]], None] = lambda message, pids: None,
        plan: TrainingPlan | None = None,
        **limits: Any,
    ) -> RunState:
        """Run the plan and call `disturb(message, pids of the workers)` for every message."""
        storage = model_cards.artifact_storage(self.settings, name)
        pids: dict[int, int] = {}

        def task(address: tuple[str, int], authkey: bytes) -> WorkerTask:
            return WorkerTask(plan or self.plan, name, self.snapshot, storage, address, authkey)

        def listener(message: Message | Disconnected, _: RunState) -> None:
            if isinstance(message, Registered):
                pids[message.worker] = message.pid
                self.pids.append(message.pid)
            disturb(message, pids)

        return cluster.run(self.spark, main, task, 2, self.limits(**limits), bar=False, listener=listener)

    def weights(self, name: str) -> Values:
        newest = Checkpoints(
            model_cards.artifact_storage(self.settings, name).subfolder("checkpoints")
        ).newest()
        assert newest and newest.epochs == EPOCHS
        return list(newest.values)


@pytest.fixture(scope="module")
def runs(settings: Settings, cluster: "SparkSession") -> Runs:
    return Runs(settings, cluster, tiny.snapshot(settings, "faults"))


@pytest.fixture
def clean(runs: Runs) -> Iterator[None]:
    """After every test no worker runs, no port of ours is open, and the session still works."""
    before = processes.listening()
    yield
    assert wait_until(lambda: not any(processes.runs(pid) for pid in runs.pids), 20)
    assert wait_until(lambda: processes.listening() <= before, 5)
    assert runs.spark.range(3).count() == 3


def only_train(task: WorkerTask, context: Any) -> None:
    from models.workers.worker_main import run_worker

    run_worker(task, context, lambda worker: worker.train())


@pytest.fixture(scope="module")
def undisturbed(runs: Runs) -> Values:
    assert runs.run("undisturbed", only_train).restarts == 0
    return runs.weights("undisturbed")


def assert_same(found: Values, expected: Values) -> None:
    assert len(found) == len(expected)
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


def once_in_epoch_2(
    act: Callable[[dict[int, int]], None], worker: int | None = None
) -> Callable[[Message | Disconnected, dict[int, int]], None]:
    """Does something in the middle of the second epoch (of a worker; None: of any), and never again."""
    left = [act]

    def disturb(message: Message | Disconnected, pids: dict[int, int]) -> None:
        if left and isinstance(message, Stepped) and message.epoch == 2 and worker in (None, message.worker):
            left.pop()(pids)

    return disturb


def killed(worker: int) -> Callable[[dict[int, int]], None]:
    return lambda pids: os.kill(pids[worker], signal.SIGKILL)


def executor_killed(pids: dict[int, int]) -> None:
    """The JVM of worker 1: parent of the daemon that forks Python processes."""
    jvm = processes.parent(processes.parent(pids[1]))
    assert "CoarseGrainedExecutorBackend" in Path(f"/proc/{jvm}/cmdline").read_text()
    os.kill(jvm, signal.SIGKILL)


@pytest.mark.usefixtures("clean")
def test_the_same_plan_twice_gives_the_same_weights(runs: Runs, undisturbed: Values) -> None:
    runs.run("again", only_train)
    assert_same(runs.weights("again"), undisturbed)


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize(
    ("name", "act", "lost"),
    [
        ("worker-killed", killed(1), 1),
        ("chief-killed", killed(0), 0),
        ("executor-killed", executor_killed, 1),
    ],
)
def test_a_run_with_a_killed_process_is_restarted_and_ends_with_the_same_weights(
    name: str,
    act: Callable[[dict[int, int]], None],
    lost: int,
    runs: Runs,
    undisturbed: Values,
    capsys: pytest.CaptureFixture[str],
) -> None:
    state = runs.run(name, only_train, once_in_epoch_2(act))
    assert state.restarts == 1 and state.resumed_from == 1 and sorted(state.epochs) == [1, 2, 3]
    assert_same(runs.weights(name), undisturbed)
    errors = capsys.readouterr().err
    assert f"worker {lost}: its process (pid " in errors and "resuming after epoch 1" in errors


@pytest.mark.usefixtures("clean")
def test_a_run_that_is_killed_again_and_again_ends_with_the_first_cause(runs: Runs) -> None:
    def disturb(message: Message | Disconnected, pids: dict[int, int]) -> None:
        if isinstance(message, Stepped) and message.epoch == 1 and message.worker == 1:
            os.kill(pids[1], signal.SIGKILL)

    with pytest.raises(
        TrainingFailed, match=r"^worker 1: its process \(pid \d+ on .*\) ended without an error message"
    ):
        runs.run("killed-always", only_train, disturb, retries=1)
    assert len(runs.pids) >= 4


@pytest.mark.usefixtures("clean")
def test_a_single_worker_that_hangs_is_named_and_the_run_is_restarted(
    runs: Runs, undisturbed: Values, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped: list[int] = []

    def stop(pids: dict[int, int]) -> None:
        stopped.append(pids[1])
        os.kill(pids[1], signal.SIGSTOP)

    # A busy machine may keep a thread waiting for some seconds; that is no hang.
    state = runs.run("hanging", only_train, once_in_epoch_2(stop, 1), stall_seconds=20)
    assert state.restarts >= 1
    assert_same(runs.weights("hanging"), undisturbed)
    errors = capsys.readouterr().err
    assert f"worker 1: its process (pid {stopped[0]} on " in errors
    assert "sent no heartbeat while training for 20 s (train.stall_seconds)" in errors


@pytest.mark.usefixtures("clean")
def test_a_worker_that_hangs_ends_a_run_without_retries_within_a_minute(runs: Runs) -> None:
    at: list[float] = []

    def stop(pids: dict[int, int]) -> None:
        at.append(time.monotonic())
        os.kill(pids[0], signal.SIGSTOP)

    with pytest.raises(
        TrainingFailed, match=r"^worker 0: its process .* sent no heartbeat while training for 40 s"
    ):
        runs.run("hanging-once", only_train, once_in_epoch_2(stop, 0), retries=0)
    assert time.monotonic() - at[0] < 60


@pytest.mark.usefixtures("clean")
def test_a_full_disk_ends_the_run_and_with_free_space_it_is_resumed(runs: Runs, undisturbed: Values) -> None:
    # A checkpoint takes 2.2 MB: there is room for one.
    with small_disk(Path(model_cards.artifact_storage(runs.settings, "disk-full").root), "3m") as enlarge:
        cause = r"^worker 0: cannot write .*/epoch-00002/variables.npz: .*No space left on device"
        with pytest.raises(TrainingFailed, match=cause):
            runs.run("disk-full", only_train)
        enlarge("64m")
        state = runs.run("disk-full", only_train)
        assert state.resumed_from == 1 and state.restarts == 0
        assert_same(runs.weights("disk-full"), undisturbed)


def starved(task: WorkerTask, context: Any, always: bool) -> None:
    """Worker 1 may take no more memory than it has, from the first checkpoint on."""
    import resource

    from models.workers.worker_main import run_worker

    marker = task.artifacts.subfolder("starved")

    def train(worker: Any) -> None:
        original = worker._run_epoch

        def epoch(number: int, batches: Any) -> Any:
            if number == 2 and (always or not marker.exists("once")):
                marker.write("once", b"")
                used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
                resource.setrlimit(resource.RLIMIT_AS, (used, used))
                # What decoding another share would take.
                np.ones((2**28,), np.float32)
            return original(number, batches)

        if context.executor_id == 1:
            worker._run_epoch = epoch
        worker.train()

    run_worker(task, context, train)


def starved_once(task: WorkerTask, context: Any) -> None:
    starved(task, context, always=False)


def starved_always(task: WorkerTask, context: Any) -> None:
    starved(task, context, always=True)


@pytest.mark.usefixtures("clean")
def test_a_worker_short_of_memory_once_is_restarted(runs: Runs, undisturbed: Values) -> None:
    state = runs.run("starved-once", starved_once)
    assert state.restarts == 1 and state.resumed_from == 1
    assert_same(runs.weights("starved-once"), undisturbed)


@pytest.mark.usefixtures("clean")
def test_a_worker_short_of_memory_twice_ends_the_run(runs: Runs) -> None:
    cause = r"^worker 1: \w*MemoryError: Unable to allocate 1.* for the second time: ask for a smaller"
    with pytest.raises(TrainingFailed, match=cause):
        runs.run("starved", starved_always)


@pytest.mark.usefixtures("clean")
def test_a_loss_that_is_no_number_ends_the_run_at_once(runs: Runs) -> None:
    from dataclasses import replace

    wild = replace(runs.plan, learning_rate=1e9, warmup_epochs=0.0)
    cause = r"^worker \d: the (loss is (nan|inf)|weights are not finite).*try a lower --learning-rate"
    with pytest.raises(Diverged, match=cause):
        runs.run("wild", only_train, plan=wild)
