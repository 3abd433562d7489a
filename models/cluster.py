"""Running a training on Spark's executors with TensorFlowOnSpark, and never waiting for ever."""

import importlib.util
import logging
import re
import secrets
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pyspark import SparkContext
from pyspark.sql import SparkSession

from conf.settings import Settings, Train
from lake import session
from models.errors import ClusterTooSmall, TrainingFailed
from models.progress import Bar, Desk
from models.record import Record

EXECUTORS_SECONDS = 60  # for executors to register
END_SECONDS = 20  # for the Spark job to end when all workers are done
POLL_SECONDS = 0.2

Main = Callable[[Any, Any], None]


def start_session(settings: Settings, workers: int) -> SparkSession:
    """A session for training: the settings' master, or Spark's own several-process cluster on this machine.

    Raises:
        SparkUnavailable: the master does not answer.
    """
    memory = settings.spark.executor_memory_mb
    return session.start(
        settings,
        "train",
        settings.spark.train_master or f"local-cluster[{workers},1,{memory}]",
        # A Python process that has run TensorFlow cannot run it again: a second cluster would hang.
        spark__python__worker__reuse="false",
        spark__executor__instances=str(workers),
        spark__dynamicAllocation__enabled="false",
    )


def require(spark: SparkSession, workers: int) -> None:
    """Wait until there is an executor for every worker.

    Raises:
        ClusterTooSmall: there are fewer after a minute.
    """
    context = spark.sparkContext
    master = context.master or ""
    if local := re.fullmatch(r"local-cluster\[ *(\d+).*", master):
        if int(local[1]) < workers:
            raise ClusterTooSmall(f"--workers {workers} is more than the {local[1]} executors of {master}")
    elif master.startswith("local"):
        raise ClusterTooSmall(
            f"master {master} has no executors: leave HUB__SPARK__TRAIN_MASTER empty or name a cluster"
        )
    deadline = time.monotonic() + EXECUTORS_SECONDS
    while (found := _executors(context)) < workers:
        if time.monotonic() > deadline:
            raise ClusterTooSmall(
                f"--workers {workers} is more than the {found} executors that {master} gave "
                f"within {EXECUTORS_SECONDS} s; ask for fewer workers or add executors"
            )
        time.sleep(POLL_SECONDS)


def _executors(context: SparkContext) -> int:
    # The driver counts itself.
    return len(context._jsc.sc().statusTracker().getExecutorInfos()) - 1


def run(
    spark: SparkSession,
    main: Main,
    task_for: Callable[[tuple[str, int], bytes], Any],
    workers: int,
    limits: Train,
    bar: bool = True,
) -> Record:
    """Run `main(task, context)` once on each of `workers` executors until all are done.

    Args:
        spark: whose executors to use; `require` sees that there are enough.
        main: the function, picklable.
        task_for: makes its first argument from the driver's address and key.
        workers: TensorFlow workers.
        limits: how long a run may take, and how long it may be silent.
        bar: show a progress bar.

    Raises:
        TrainingFailed: with the first cause.
    """
    host = spark.sparkContext.getConf().get("spark.driver.host", "127.0.0.1") or "127.0.0.1"
    desk, shown = Desk(host), Bar(workers, bar)
    now = time.monotonic()
    record = Record(workers, began=now, heard=now)
    try:
        with _launched(
            spark.sparkContext, main, task_for((host, desk.port), desk.authkey), workers
        ) as status:
            _follow(record, desk, shown, status, limits)
    finally:
        shown.close()
        desk.close()
    return record


def _follow(record: Record, desk: Desk, bar: Bar, status: dict[str, str], limits: Train) -> None:
    """Take in messages until all workers are done."""
    while not record.finished:
        heard = desk.next(POLL_SECONDS)
        if heard:
            record.add(heard.message, heard.at)
            bar.show(heard.message)
            continue
        now = time.monotonic()
        if record.failure and not record.failure.lost_peer:
            raise TrainingFailed(f"worker {record.failure.worker}: {record.failure.cause}")
        if "error" in status:
            raise TrainingFailed(_cause(record, status["error"]))
        if now - record.heard > limits.stall_seconds:
            raise TrainingFailed(
                f"nothing was heard from the workers for {limits.stall_seconds} s "
                "(train.stall_seconds); the executors' logs are in <spark.work_dir>/worker"
            )
        if now - record.began > limits.timeout_seconds:
            raise TrainingFailed(f"stopped after {limits.timeout_seconds} s (train.timeout_seconds)")


def _cause(record: Record, error: str) -> str:
    if record.failure:
        return f"worker {record.failure.worker}: {record.failure.cause}"
    return _first_error(error)


def _first_error(error: str) -> str:
    """The line that names the exception, of Spark's report on a failed job."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    named = (line.lstrip(": ") for line in lines if re.match(r"[:\s]*[\w.]*(Error|Exception)\b", line))
    return next(named, lines[0] if lines else "no cause given")


@contextmanager
def _launched(context: SparkContext, main: Main, task: Any, workers: int) -> Iterator[dict[str, str]]:
    """The cluster while it runs; yields what TensorFlowOnSpark's own thread says of its Spark job.

    Its `shutdown` is not called: it waits in steps of 5 s, runs a second job that imports TensorFlow
    again, and stops the session when something failed. What it is for does not arise here: no queues
    are fed and no Python process is reused.
    """
    cluster = _tensorflowonspark()
    cluster.tf_status.clear()
    before = set(context.statusTracker().getActiveJobsIds())
    # Spark keeps Python processes apart by their environment: this run gets fresh ones in any session.
    context.environment["HUB_RUN"] = secrets.token_hex(8)
    started, patience = None, 0.0
    try:
        started = cluster.run(
            context,
            main,
            task,
            num_executors=workers,
            num_ps=0,
            input_mode=cluster.InputMode.TENSORFLOW,
            master_node="chief",
            reservation_timeout=EXECUTORS_SECONDS,
        )
        yield cluster.tf_status
        patience = END_SECONDS
    except SystemExit:
        raise TrainingFailed(_first_error(cluster.tf_status.get("error", "no cause given"))) from None
    finally:
        if started:
            started.server.stop()
        _end_jobs(context, before, patience)
        context.environment.pop("HUB_RUN", None)


def _end_jobs(context: SparkContext, before: set[int], patience: float) -> None:
    """Wait some seconds for the run's job to end by itself, then cancel it."""
    if context._jsc is None or context._jsc.sc().isStopped():
        return
    deadline = time.monotonic() + patience
    while left := set(context.statusTracker().getActiveJobsIds()) - before:
        if time.monotonic() >= deadline:
            for job in left:
                context._jsc.sc().cancelJob(job)
            return
        time.sleep(POLL_SECONDS / 2)


def _tensorflowonspark() -> Any:
    """TensorFlowOnSpark without TensorFlow, which its `compat` would import on the driver for nothing."""
    name = "tensorflowonspark.compat"
    logging.getLogger("tensorflowonspark").setLevel(logging.CRITICAL)  # causes are told by the workers
    if name not in sys.modules:
        import tensorflowonspark

        spec = importlib.util.find_spec(name)
        assert spec and spec.loader
        spec.loader = importlib.util.LazyLoader(spec.loader)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        tensorflowonspark.compat = module
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # pkg_resources, which it imports, is deprecated
        from tensorflowonspark import TFCluster

    return TFCluster
