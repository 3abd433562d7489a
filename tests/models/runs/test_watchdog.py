"""Limits and attempts, with times and failures written by hand."""

from typing import Any

import pytest

from conf.sections import Train
from conf.settings import Settings
from models.messages import STEPPING, Alive, Disconnected, Done, Failed, Registered, Stepped
from models.runs.run_state import RunState
from models.runs.watchdog import Watchdog
from models.workers import worker_failures
from models.workers.worker_failures import Attempts, Kind


@pytest.fixture
def limits(settings: Settings) -> Train:
    return settings.train.model_copy(update={"stall_seconds": 10, "start_seconds": 30, "work_seconds": 100})


def watched(limits: Train, workers: int = 2) -> tuple[Watchdog, RunState]:
    """A watch that begins at 0, with all workers there."""
    record = RunState(workers, began=0)
    watch = Watchdog(limits, record, 0)
    for worker in range(workers):
        record.add(Registered(worker, 100 + worker, "here"), 0)
        watch.add(Registered(worker, 100 + worker, "here"), 0)
    return watch, record


def beat(watch: Watchdog, worker: int, seconds: range, moving: bool = True, doing: str = STEPPING) -> None:
    for second in seconds:
        watch.add(Alive(worker, second if moving else seconds.start, doing), second)


def cause(failure: Failed | None) -> str:
    return worker_failures.told(failure) if failure else ""


def test_a_silent_worker_is_named_though_the_others_stand_still_as_long(limits: Train) -> None:
    watch, _ = watched(limits)
    beat(watch, 0, range(1, 6))
    beat(watch, 1, range(1, 6))
    beat(watch, 0, range(6, 18), moving=False)
    assert watch.overdue(15) is None
    assert cause(watch.overdue(16)) == (
        "worker 1: its process (pid 101 on here) was silent while training for 10 s (train.stall_seconds)"
    )


def test_a_lost_peer_waits_for_one_that_is_silent(limits: Train) -> None:
    watch, _ = watched(limits)
    watch.add(Failed(0, "UnavailableError: peer", Kind.PEER), 3)
    beat(watch, 1, range(1, 4), doing="starting epoch 2")
    watch.add(Stepped(1, 2, 1, 9.0, 0.1, 0.5), 3)
    assert not watch.quiet(5) and watch.quiet(7)
    assert cause(watch.overdue(14)).startswith(
        "worker 1: its process (pid 101 on here) was silent while training"
    )


def test_workers_that_live_but_make_no_step_are_found(limits: Train) -> None:
    watch, _ = watched(limits)
    for worker in (0, 1):
        beat(watch, worker, range(1, 40), moving=False)
    assert "got no further while training for 12 s (train.stall_seconds)" in cause(watch.overdue(39.5))


def test_steps_that_have_always_been_slow_may_be_slow(limits: Train) -> None:
    watch, _ = watched(limits, workers=1)
    for second in range(1, 40):
        watch.add(Alive(0, second // 4, STEPPING), second)  # a step takes 4 s
    for second in range(40, 78):
        watch.add(Alive(0, 9, STEPPING), second)
    assert watch.overdue(75) is None  # the last step was at 36
    assert "for 40 s" in cause(watch.overdue(77))


def test_what_has_no_steps_may_take_longer_but_not_for_ever(limits: Train) -> None:
    watch, _ = watched(limits, workers=1)
    beat(watch, 0, range(1, 120), moving=False, doing="writing the model")
    assert watch.overdue(101) is None
    assert "got no further while writing the model for 100 s (train.work_seconds)" in cause(
        watch.overdue(101.5)
    )


def test_a_converter_may_keep_a_process_silent_for_longer(limits: Train) -> None:
    watch, _ = watched(limits, workers=1)
    beat(watch, 0, range(1, 6), doing="writing the model")
    assert watch.overdue(35) is None
    assert "was silent while writing the model for 30 s" in cause(watch.overdue(36))


def test_a_worker_that_never_came_is_found(limits: Train) -> None:
    record = RunState(2, began=0)
    watch = Watchdog(limits, record, 0)
    watch.add(Registered(0, 100, "here"), 1)
    beat(watch, 0, range(1, 40))
    assert watch.overdue(30) is None
    assert cause(watch.overdue(31)) == "worker 1: its process did not start for 30 s (train.start_seconds)"


def test_nothing_is_expected_of_who_is_done(limits: Train) -> None:
    watch, _ = watched(limits)
    watch.add(Done(0), 5)
    beat(watch, 1, range(1, 300), doing="writing the model")
    assert watch.overdue(300) is None


def test_time_in_which_the_driver_itself_stood_still_does_not_count(limits: Train) -> None:
    watch, _ = watched(limits)
    for worker in (0, 1):
        beat(watch, worker, range(1, 6))
    watch.pause(300)
    assert watch.overdue(312) is None
    assert watch.overdue(316) is not None


def test_a_process_that_ends_without_a_word_is_a_cause_and_its_peers_are_not(limits: Train) -> None:
    _, record = watched(limits)
    record.add(Failed(0, "UnavailableError: connection reset", Kind.PEER), 1)
    record.add(Disconnected(1), 1.1)
    record.add(Failed(0, "ValueError: later", Kind.FINAL), 2)
    assert record.failure and record.failure.worker == 1 and record.failure.kind == Kind.LOST
    record.start_again()
    assert record.failure is None and record.processes == {} and record.restarts == 1


LOST, PEER = Failed(1, "gone", Kind.LOST), Failed(0, "peer", Kind.PEER)


def test_a_run_is_started_again_so_many_times_without_another_epoch_in_between() -> None:
    attempts = Attempts(retries=2)
    assert [attempts.another(LOST, 1), attempts.another(PEER, 1), attempts.another(LOST, 1)] == [
        True,
        True,
        False,
    ]
    assert attempts.told(LOST) == (
        "worker 1: gone, 3 times in a row without finishing another epoch (train.retries = 2)"
    )
    patient = Attempts(retries=2)
    assert all(patient.another(LOST, epochs) for epochs in (1, 1, 2, 2, 3, 3, 4))
    none, final = Attempts(retries=0), Failed(0, "no space", Kind.FINAL)
    assert not none.another(LOST, 5) and none.told(LOST) == "worker 1: gone"
    mixed = Attempts(retries=2)
    assert mixed.another(LOST, 1) and not mixed.another(final, 1)
    assert mixed.told(final) == "worker 0: no space"  # how often another thing happened is no part of it


@pytest.mark.parametrize("kind", [Kind.FINAL, Kind.DIVERGED])
def test_what_would_happen_again_is_not_tried_again(kind: Kind) -> None:
    assert not Attempts(retries=9).another(Failed(0, "no", kind), 3)


def test_memory_is_tried_once_more_however_many_epochs_lie_between() -> None:
    attempts, failure = Attempts(retries=9), Failed(1, "MemoryError: 1 GiB", Kind.MEMORY)
    assert attempts.another(failure, 1)
    assert not attempts.another(failure, 5)
    assert attempts.told(failure).endswith(
        "for the second time: ask for a smaller --batch-size or train.cache_mb"
    )


REPORT = """An error occurred while calling z:org.apache.spark.api.python.PythonRDD.collectAndServe.
: org.apache.spark.SparkException: [TASK_FAILED] Job aborted due to stage failure: Task 0 in stage 1.0 failed:
{}
\tat org.apache.spark.scheduler.DAGScheduler.abortStage
"""


@pytest.mark.parametrize(
    ("line", "kind", "said"),
    [
        (
            "ExecutorLostFailure (executor 1 exited) Reason: worker lost",
            Kind.LOST,
            "ExecutorLostFailure (exec",
        ),
        (
            "org.apache.spark.SparkException: Python worker exited unexpectedly (crashed). Consider setting",
            Kind.LOST,
            "Python worker exited unexpectedly",
        ),
        (
            "ModuleNotFoundError: No module named 'models'",
            Kind.FINAL,
            "ModuleNotFoundError: No module named 'models'",
        ),
        ("MemoryError: Unable to allocate", Kind.MEMORY, "MemoryError: Unable to allocate"),
        ("tensorflow.python.framework.errors_impl.UnavailableError: x", Kind.PEER, "UnavailableError"),
    ],
)
def test_what_spark_reports_comes_to_a_cause(line: str, kind: Kind, said: str) -> None:
    found = worker_failures.of_job(REPORT.format(line))
    assert found.kind == kind and said in found.cause and "\n" not in found.cause


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError("Unable to allocate"), Kind.MEMORY),
        (OSError(12, "Cannot allocate memory"), Kind.MEMORY),
        (OSError(28, "No space left on device"), Kind.FINAL),
        (ZeroDivisionError("division by zero"), Kind.FINAL),
    ],
)
def test_an_exception_is_of_the_kind_that_decides_about_another_attempt(error: Any, kind: Kind) -> None:
    assert worker_failures.failed(0, error).kind == kind
