"""Running a training on Spark's executors, again where it was lost, and never waiting for ever."""

import os
import re
import sys
import time
from collections.abc import Callable
from typing import Any

from pyspark import SparkContext
from pyspark.sql import SparkSession

from conf.sections import Train
from conf.settings import Settings
from lake.spark import session
from models.errors import ClusterTooSmall, Diverged, TrainingFailed
from models.messages import Disconnected, Failed, Message
from models.runs.launch import END_SECONDS, Job, Main, launched, stopped
from models.runs.progress_bar import shown
from models.runs.run_state import RunState
from models.runs.watchdog import Watchdog
from models.workers.message_channel import MessageServer
from models.workers.worker_failures import Attempts, Kind, told

EXECUTORS_SECONDS = 60  # for executors to register
POLL_SECONDS = 0.2
# JVMs only start and watch Python here: without the second compiler three of them take half the processor
# time until the workers run, which is what a small machine waits for.
QUICK_JVM = "-XX:TieredStopAtLevel=1"
ASLEEP_SECONDS = 5.0  # a driver that does not get to look for so long was stopped or starved itself
Listener = Callable[[Message | Disconnected, RunState], None]

# Between a failure and the end of its attempt: what a lost peer makes the others say may come before the
# cause does, and Spark may say more of a process that has gone.
SETTLING_SECONDS = {Kind.PEER: 10.0, Kind.LOST: 1.0}


def start_session(settings: Settings, workers: int, tables: bool = False) -> SparkSession:
    """A session for training: the settings' master, or Spark's own several-process cluster on this machine.

    Args:
        settings: of the hub.
        workers: executors, where the cluster is this machine.
        tables: whether the session must read tables too; a training does not.

    Raises:
        SparkUnavailable: the master does not answer.
    """
    memory = settings.spark.executor_memory_mb
    usual = session.defaults(settings)
    bare = {} if tables else {"spark__jars": "", "spark__sql__extensions": ""}
    return session.start(
        settings,
        "train",
        settings.spark.train_master or f"local-cluster[{workers},1,{memory}]",
        # A Python process that has run TensorFlow cannot run it again: a second cluster would hang.
        spark__python__worker__reuse="false",
        spark__executor__instances=str(workers),
        spark__dynamicAllocation__enabled="false",
        **_gpus(settings.spark.train_gpus),
        # What fails is started again by the driver, all workers together, on whatever executors there are.
        spark__task__maxFailures="1",
        spark__driver__extraJavaOptions=f"{usual['spark.driver.extraJavaOptions']} {QUICK_JVM}",
        spark__executor__extraJavaOptions=f"{QUICK_JVM} -XX:+UseSerialGC {session.QUICK_START}",
        # On this machine executors are seen to end; one that is only starved is no lost one.
        spark__worker__timeout="600",
        **bare,
    )


def _gpus(amount: int) -> dict[str, str]:
    """Spark properties that give every worker GPUs of its own (Spark: custom resource scheduling)."""
    if not amount:
        return {}
    kinds = "executor", "task"
    return {f"spark__{kind}__resource__gpu__amount": str(amount) for kind in kinds}


def refuse_too_many(settings: Settings, workers: int) -> None:
    """Refuse more workers than this machine has cores, where it is the cluster.

    Raises:
        ClusterTooSmall: there are fewer cores.
    """
    cores = len(os.sched_getaffinity(0))
    if not settings.spark.train_master and "PYSPARK_GATEWAY_PORT" not in os.environ and workers > cores:
        raise ClusterTooSmall(
            f"--workers {workers} is more than the {cores} cores of this machine: ask for fewer, "
            "or name a cluster in spark.train_master"
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
    listener: Listener = lambda message, record: None,
) -> RunState:
    """Run `main(task, context)` once on each of `workers` executors until all are done.

    What was lost on the way (a process, an executor, a machine) is started again, all workers together.

    Args:
        spark: whose executors to use.
        main: the function, picklable; it goes on from where it was, by itself.
        task_for: makes its first argument from the driver's address and key.
        workers: TensorFlow workers.
        limits: how long a run may take, how long it may be silent, how often it is started again.
        bar: show a progress bar, in a log lines.
        listener: is told every word of the workers, and the record that has it.

    Raises:
        ClusterTooSmall: there are fewer executors.
        TrainingFailed: with the first cause.
    """
    record = RunState(workers, began=time.monotonic())
    attempts, display = Attempts(limits.retries), shown(workers, not bar, sys.stderr)

    def told_all(message: Message | Disconnected, record: RunState) -> None:
        display.show(message)
        listener(message, record)

    try:
        require(spark, workers)
        while failure := _attempt(spark, main, task_for, record, told_all, limits):
            epochs = max(record.epochs, default=0)
            if not attempts.another(failure, epochs):
                kind = Diverged if failure.kind == Kind.DIVERGED else TrainingFailed
                raise kind(attempts.told(failure))
            display.note(f"{told(failure)}; going on after epoch {epochs}")
            record.start_again()
            _require_again(spark, workers, failure)
        return record
    finally:
        display.close()


def _require_again(spark: SparkSession, workers: int, failure: Failed) -> None:
    if stopped(spark.sparkContext):
        raise TrainingFailed(f"{told(failure)}; then the Spark session ended")
    try:
        require(spark, workers)
    except ClusterTooSmall as error:
        raise TrainingFailed(f"{told(failure)}; then {error}") from None


def _attempt(
    spark: SparkSession,
    main: Main,
    task_for: Callable[[tuple[str, int], bytes], Any],
    record: RunState,
    listener: Listener,
    limits: Train,
) -> Failed | None:
    """Launch the workers and follow them to the end: None, or why it was another than wanted."""
    context = spark.sparkContext
    host = context.getConf().get("spark.driver.host", "127.0.0.1") or "127.0.0.1"
    desk = MessageServer(host)
    try:
        with launched(context, main, task_for((host, desk.port), desk.authkey), record.workers) as job:
            failure = _follow(record, desk, listener, job, limits)
            if failure:
                job.end(0)
                desk.close()
                job.gone(END_SECONDS)
        return failure
    finally:
        desk.close()


def _follow(
    record: RunState, desk: MessageServer, listener: Listener, job: Job, limits: Train
) -> Failed | None:
    """Take in messages until all workers are done, or the first cause of a failure is known."""
    now = time.monotonic()
    watch, failed_at = Watchdog(limits, record, now), None
    while not record.finished:
        heard = desk.next(POLL_SECONDS)
        if heard:
            watch.add(heard.message, heard.at)
            record.add(heard.message, heard.at)
            listener(heard.message, record)
        before, now = now, time.monotonic()
        if now - before > ASLEEP_SECONDS:
            watch.pause(now - before)
        failure = _failure(record, watch, job, now, idle=heard is None)
        if failure:
            failed_at = failed_at or now
            # A peer was lost, and one of the workers is silent: that one is the cause if it stays so.
            waits = failure.kind == Kind.PEER and watch.quiet(now)
            if not waits and now - failed_at >= SETTLING_SECONDS.get(Kind(failure.kind), 0):
                return failure
        elif now - record.began > limits.timeout_seconds:
            raise TrainingFailed(f"stopped after {limits.timeout_seconds} s (train.timeout_seconds)")
    return None


def _failure(record: RunState, watch: Watchdog, job: Job, now: float, idle: bool) -> Failed | None:
    """The first cause so far: a worker's own word goes before Spark's and the clock's."""
    found = record.failure
    if found and found.kind != Kind.PEER:
        return found
    others = watch.overdue(now) or (job.failure if idle else None)
    if others and (found is None or others.kind != Kind.PEER):
        record.failure = others
    if record.failure is None and idle and job.ended.is_set():
        record.failure = Failed(-1, "the Spark job ended before its workers were done", Kind.LOST)
    return record.failure
