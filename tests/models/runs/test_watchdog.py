"""Watchdog limits and the retry policy, with times and failures written by hand."""

from typing import Any

import pytest

from conf.sections import Train
from conf.settings import Settings
from models.messages import STEPPING, Alive, Disconnected, Done, Failed, Registered, Stepped
from models.runs.run_state import RunState
from models.runs.watchdog import Watchdog
from models.workers import worker_failures
from models.workers.worker_failures import FailureKind, RetryPolicy


@pytest.fixture
def limits(settings: Settings) -> Train:
    return settings.train.model_copy(update={"stall_seconds": 10, "start_seconds": 30, "work_seconds": 100})


def watched(limits: Train, workers: int = 2) -> tuple[Watchdog, RunState]:
    """A watchdog that begins at 0, with all workers registered."""
    state = RunState(workers, began=0)
    watchdog = Watchdog(limits, state, 0)
    for worker in range(workers):
        state.add(Registered(worker, 100 + worker, "here"), 0)
        watchdog.add(Registered(worker, 100 + worker, "here"), 0)
    return watchdog, state


def beat(watchdog: Watchdog, worker: int, seconds: range, moving: bool = True, doing: str = STEPPING) -> None:
    for second in seconds:
        watchdog.add(Alive(worker, second if moving else seconds.start, doing), second)


def cause(failure: Failed | None) -> str:
    return worker_failures.describe(failure) if failure else ""


def test_a_silent_worker_is_named_although_the_others_make_no_progress_either(limits: Train) -> None:
    watchdog, _ = watched(limits)
    beat(watchdog, 0, range(1, 6))
    beat(watchdog, 1, range(1, 6))
    beat(watchdog, 0, range(6, 18), moving=False)
    assert watchdog.overdue(15) is None
    assert cause(watchdog.overdue(16)) == (
        "worker 1: its process (pid 101 on here) sent no heartbeat while training for 10 s "
        "(train.stall_seconds)"
    )


def test_a_lost_peer_waits_for_one_that_is_silent(limits: Train) -> None:
    watchdog, _ = watched(limits)
    watchdog.add(Failed(0, "UnavailableError: peer", FailureKind.PEER), 3)
    beat(watchdog, 1, range(1, 4), doing="starting epoch 2")
    watchdog.add(Stepped(1, 2, 1, 9.0, 0.1, 0.5), 3)
    assert not watchdog.any_silent(5) and watchdog.any_silent(7)
    assert cause(watchdog.overdue(14)).startswith(
        "worker 1: its process (pid 101 on here) sent no heartbeat while training"
    )


def test_workers_that_live_but_make_no_step_are_found(limits: Train) -> None:
    watchdog, _ = watched(limits)
    for worker in (0, 1):
        beat(watchdog, worker, range(1, 40), moving=False)
    assert "made no progress while training for 12 s (train.stall_seconds)" in cause(watchdog.overdue(39.5))


def test_steps_that_have_always_been_slow_may_be_slow(limits: Train) -> None:
    watchdog, _ = watched(limits, workers=1)
    for second in range(1, 40):
        watchdog.add(Alive(0, second // 4, STEPPING), second)  # a step takes 4 s
    for second in range(40, 78):
        watchdog.add(Alive(0, 9, STEPPING), second)
    assert watchdog.overdue(75) is None  # the last step was at 36
    assert "for 40 s" in cause(watchdog.overdue(77))


def test_a_phase_without_steps_may_take_longer_but_not_for_ever(limits: Train) -> None:
    watchdog, _ = watched(limits, workers=1)
    beat(watchdog, 0, range(1, 120), moving=False, doing="writing the model")
    assert watchdog.overdue(101) is None
    assert "made no progress while writing the model for 100 s (train.work_seconds)" in cause(
        watchdog.overdue(101.5)
    )


def test_a_converter_may_keep_a_process_silent_for_longer(limits: Train) -> None:
    watchdog, _ = watched(limits, workers=1)
    beat(watchdog, 0, range(1, 6), doing="writing the model")
    assert watchdog.overdue(35) is None
    assert "sent no heartbeat while writing the model for 30 s" in cause(watchdog.overdue(36))


def test_a_worker_that_never_came_is_found(limits: Train) -> None:
    state = RunState(2, began=0)
    watchdog = Watchdog(limits, state, 0)
    watchdog.add(Registered(0, 100, "here"), 1)
    beat(watchdog, 0, range(1, 40))
    assert watchdog.overdue(30) is None
    assert (
        cause(watchdog.overdue(31)) == "worker 1: its process did not start within 30 s (train.start_seconds)"
    )


def test_no_messages_are_expected_of_a_worker_that_is_done(limits: Train) -> None:
    watchdog, _ = watched(limits)
    watchdog.add(Done(0), 5)
    beat(watchdog, 1, range(1, 300), doing="writing the model")
    assert watchdog.overdue(300) is None


def test_time_in_which_the_driver_was_suspended_does_not_count(limits: Train) -> None:
    watchdog, _ = watched(limits)
    for worker in (0, 1):
        beat(watchdog, worker, range(1, 6))
    watchdog.ignore_pause(300)
    assert watchdog.overdue(312) is None
    assert watchdog.overdue(316) is not None


def test_a_process_that_ends_without_an_error_is_a_cause_and_its_peers_are_not(limits: Train) -> None:
    _, state = watched(limits)
    state.add(Failed(0, "UnavailableError: connection reset", FailureKind.PEER), 1)
    state.add(Disconnected(1), 1.1)
    state.add(Failed(0, "ValueError: later", FailureKind.FINAL), 2)
    assert state.failure and state.failure.worker == 1 and state.failure.kind == FailureKind.LOST
    state.restart()
    assert state.failure is None and state.processes == {} and state.restarts == 1


LOST, PEER = Failed(1, "gone", FailureKind.LOST), Failed(0, "peer", FailureKind.PEER)


def test_a_run_is_restarted_at_most_retries_times_without_another_finished_epoch() -> None:
    policy = RetryPolicy(retries=2)
    assert [policy.should_retry(LOST, 1), policy.should_retry(PEER, 1), policy.should_retry(LOST, 1)] == [
        True,
        True,
        False,
    ]
    assert policy.describe(LOST) == (
        "worker 1: gone, 3 times in a row without finishing another epoch (train.retries = 2)"
    )
    patient = RetryPolicy(retries=2)
    assert all(patient.should_retry(LOST, epochs) for epochs in (1, 1, 2, 2, 3, 3, 4))
    none, final = RetryPolicy(retries=0), Failed(0, "no space", FailureKind.FINAL)
    assert not none.should_retry(LOST, 5) and none.describe(LOST) == "worker 1: gone"
    mixed = RetryPolicy(retries=2)
    assert mixed.should_retry(LOST, 1) and not mixed.should_retry(final, 1)
    assert mixed.describe(final) == "worker 0: no space"  # the count of other failures is not mentioned


@pytest.mark.parametrize("kind", [FailureKind.FINAL, FailureKind.DIVERGED])
def test_a_final_failure_is_not_retried(kind: FailureKind) -> None:
    assert not RetryPolicy(retries=9).should_retry(Failed(0, "no", kind), 3)


def test_out_of_memory_is_retried_once_however_many_epochs_lie_between() -> None:
    policy, failure = RetryPolicy(retries=9), Failed(1, "MemoryError: 1 GiB", FailureKind.MEMORY)
    assert policy.should_retry(failure, 1)
    assert not policy.should_retry(failure, 5)
    assert policy.describe(failure).endswith(
        "for the second time: ask for a smaller --batch-size or train.cache_mb"
    )


REPORT = """An error occurred while calling z:org.apache.spark.api.python.PythonRDD.collectAndServe.
: org.apache.spark.SparkException: [TASK_FAILED] Job aborted due to stage failure: Task 0 in stage 1.0 failed:
{}
\tat org.apache.spark.scheduler.DAGScheduler.abortStage
"""


@pytest.mark.parametrize(
    ("line", "kind", "expected"),
    [
        (
            "ExecutorLostFailure (executor 1 exited) Reason: worker lost",
            FailureKind.LOST,
            "ExecutorLostFailure (exec",
        ),
        (
            "org.apache.spark.SparkException: Python worker exited unexpectedly (crashed). Consider setting",
            FailureKind.LOST,
            "Python worker exited unexpectedly",
        ),
        (
            "ModuleNotFoundError: No module named 'models'",
            FailureKind.FINAL,
            "ModuleNotFoundError: No module named 'models'",
        ),
        ("MemoryError: Unable to allocate", FailureKind.MEMORY, "MemoryError: Unable to allocate"),
        ("tensorflow.python.framework.errors_impl.UnavailableError: x", FailureKind.PEER, "UnavailableError"),
    ],
)
def test_a_spark_report_is_reduced_to_its_cause(line: str, kind: FailureKind, expected: str) -> None:
    failure = worker_failures.from_spark_report(REPORT.format(line))
    assert failure.kind == kind and expected in failure.cause and "\n" not in failure.cause


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError("Unable to allocate"), FailureKind.MEMORY),
        (OSError(12, "Cannot allocate memory"), FailureKind.MEMORY),
        (OSError(28, "No space left on device"), FailureKind.FINAL),
        (ZeroDivisionError("division by zero"), FailureKind.FINAL),
        # as tf.data reports an exception of the input's generator
        (RuntimeError("InputProcessLost: process 12, which prepares training pictures"), FailureKind.LOST),
    ],
)
def test_an_exception_is_converted_to_its_failure_kind(error: Any, kind: FailureKind) -> None:
    assert worker_failures.from_exception(0, error).kind == kind
