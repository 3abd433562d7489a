"""Trains the networks of folds, each by one Spark task, several folds at a time.

A process trains one fold: a training with one worker has one Spark task, and several drivers do not disturb
each other.
"""

import ctypes
import io
import logging
import os
import signal
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from conf.errors import HubError
from conf.settings import Settings
from models.errors import TrainingFailed
from models.plan import TrainingPlan, has_gpus, trains_here
from models.runs import train

WORKERS = (
    1  # of each fold: it has no gradients to exchange, so folds beside each other are faster than workers
)
STOP_SECONDS = 20.0  # for a fold to mark its model as failed; then it is killed
_PR_SET_PDEATHSIG = 1
Report = Callable[[int, str], None]


@dataclass(frozen=True)
class _Running:
    """A process that trains the fold, and the end of the pipe on which its result arrives."""

    fold: int
    process: SpawnProcess
    result: Connection


def train_folds(settings: Settings, plans: dict[int, TrainingPlan], report: Report) -> None:
    """Train a model for each fold; a fold that was interrupted is resumed.

    Args:
        plans: by fold, each with one worker.
        report: called with a fold and the id of its model, when it is trained.

    Raises:
        HubError: of the first fold that fails; the others are stopped.
    """
    # spark-submit has one driver, which alone knows its cluster.
    if "PYSPARK_GATEWAY_PORT" in os.environ:
        for fold, plan in plans.items():
            report(fold, train.train(settings, plan, bar=False).model_id)
        return
    parts = at_a_time(settings, len(plans))
    own = _share_of(settings, parts)
    waiting, running = deque(plans.items()), list[_Running]()
    try:
        while waiting or running:
            while waiting and len(running) < parts:
                running.append(_start(own, *waiting.popleft()))
            ready = wait([each.result for each in running])
            for each in [each for each in running if each.result in ready]:
                report(each.fold, _result(each))
                running.remove(each)
    finally:
        _stop(running)


def at_a_time(settings: Settings, folds: int) -> int:
    """How many folds are trained at a time: on this machine one per core, or one with a GPU."""
    limit = settings.checks.deep_parallel
    if trains_here(settings):
        limit = 1 if has_gpus(settings) else min(limit, len(os.sched_getaffinity(0)))
    return max(1, min(limit, folds))


def _share_of(settings: Settings, parts: int) -> Settings:
    """Settings of one of several trainings on this machine, with its share of the cores."""
    cores = min(settings.spark.train_cores, max(1, len(os.sched_getaffinity(0)) // parts))
    return settings.model_copy(update={"spark": settings.spark.model_copy(update={"train_cores": cores})})


def _start(settings: Settings, fold: int, plan: TrainingPlan) -> _Running:
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_train, args=(settings, plan, sender, os.getpid()), name=f"fold {fold}")
    process.start()
    sender.close()  # so that the end of the process ends the pipe
    return _Running(fold, process, receiver)


def _train(settings: Settings, plan: TrainingPlan, sender: Connection, parent: int) -> None:
    """Train in this process; sends the model's id, or the error that the user can fix."""
    logging.basicConfig(level=logging.CRITICAL)  # as the command does: TensorFlowOnSpark would show all lines
    warnings.simplefilter("ignore")
    # A training's own lines say nothing here: `report` names each fold, and an error is sent.
    with _ends_with_parent(parent), redirect_stderr(io.StringIO()):
        try:
            result: str | HubError = train.train(settings, plan, bar=False).model_id
        except HubError as error:
            result = error
        sender.send(result)


@contextmanager
def _ends_with_parent(parent: int) -> Iterator[None]:
    """Let this process end when its parent ends or stops it; the parent handles Ctrl-C for both."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before that
        os._exit(128 + signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    except KeyboardInterrupt:
        os._exit(128 + signal.SIGTERM)  # the training has ended; there is nobody to tell


def _interrupt(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _result(running: _Running) -> str:
    """The model's id.

    Raises:
        HubError: what the training raised.
        TrainingFailed: the process ended without a result.
    """
    try:
        result = running.result.recv()
    except EOFError:
        running.process.join()
        raise TrainingFailed(
            f"the process that trained fold {running.fold + 1} ended with status {running.process.exitcode}: "
            "run the same command again to go on"
        ) from None
    running.process.join()
    running.result.close()
    if isinstance(result, HubError):
        raise result
    return str(result)


def _stop(running: Sequence[_Running]) -> None:
    for each in running:
        each.process.terminate()
    for each in running:
        each.process.join(STOP_SECONDS)
        each.process.kill()
        each.process.join()
        each.result.close()
