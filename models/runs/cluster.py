"""Run training workers on Spark executors, restart them after failures, and limit every wait."""

import sys
import time
from collections.abc import Callable
from typing import Any

from pyspark.sql import SparkSession

from conf.sections import Train
from conf.settings import Settings
from lake.spark import session
from models.errors import ClusterTooSmall, Diverged, TrainingFailed
from models.messages import Disconnected, Failed, Message
from models.plan import trains_here
from models.runs.executors import local_cores, wait_for_executors
from models.runs.launch import END_SECONDS, SparkJob, WorkerMain, launch_workers, session_stopped
from models.runs.progress_bar import create_display
from models.runs.run_state import RunState
from models.runs.watchdog import Watchdog
from models.workers.message_channel import MessageServer
from models.workers.worker_failures import FailureKind, RetryPolicy, describe

POLL_SECONDS = 0.2
# The JVMs only start and watch Python processes here. Without the C2 compiler, the driver and two executors
# need half the CPU time until the workers run.
QUICK_JVM = "-XX:TieredStopAtLevel=1"
PAUSE_SECONDS = 5.0  # a longer gap between two polls means that the driver itself was suspended or starved
Listener = Callable[[Message | Disconnected, RunState], None]

# Wait between a failure and the end of its attempt: the errors of a lost worker's peers may arrive before the
# cause does, and a worker's own message may arrive after Spark's report.
SETTLING_SECONDS = {FailureKind.PEER: 10.0, FailureKind.LOST: 1.0}


def start_session(settings: Settings, workers: int, tables: bool = False) -> SparkSession:
    """Start a Spark session for training, on `spark.train_master` or on a `local-cluster` of this machine.

    Args:
        settings: of the hub.
        workers: number of executors of the local cluster.
        tables: whether the session must read Delta tables; a training does not.

    Raises:
        SparkUnavailable: the master does not answer.
    """
    cores, memory = local_cores(settings, workers), settings.spark.executor_memory_mb
    master = settings.spark.train_master or f"local-cluster[{workers},{cores},{memory}]"
    defaults = session.spark_properties(settings)
    executor_options = session.executor_options(settings, master)
    without_delta = {} if tables else {"spark__jars": "", "spark__sql__extensions": ""}
    return session.start(
        settings,
        "train",
        master,
        workers,
        # A Python process that has run a TensorFlow cluster cannot run another one: it would hang.
        spark__python__worker__reuse="false",
        spark__executor__instances=str(workers),
        spark__dynamicAllocation__enabled="false",
        **({"spark__task__cpus": str(cores)} if trains_here(settings) else {}),
        **_gpus(settings.spark.train_gpus),
        # No retries by Spark: after a failure the driver restarts all workers together.
        spark__task__maxFailures="1",
        spark__driver__extraJavaOptions=f"{defaults['spark.driver.extraJavaOptions']} {QUICK_JVM}",
        spark__executor__extraJavaOptions=(
            f"{executor_options} {QUICK_JVM} -XX:+UseSerialGC {session.CDS_OPTION}"
        ),
        # On one machine Spark sees an executor's process end; a late heartbeat only means a busy machine.
        spark__worker__timeout="600",
        **without_delta,
    )


def _gpus(amount: int) -> dict[str, str]:
    """Spark properties that give every worker its own GPUs (Spark: custom resource scheduling)."""
    if not amount:
        return {}
    kinds = "executor", "task"
    return {f"spark__{kind}__resource__gpu__amount": str(amount) for kind in kinds}


def run(
    spark: SparkSession,
    main: WorkerMain,
    make_task: Callable[[tuple[str, int], bytes], Any],
    workers: int,
    limits: Train,
    bar: bool = True,
    listener: Listener = lambda message, state: None,
    check: Callable[[], None] = lambda: None,
) -> RunState:
    """Run `main(task, context)` on `workers` executors, one worker each, until all are done.

    After the loss of a process, an executor or a machine, the driver restarts all workers together.

    Args:
        spark: session whose executors to use.
        main: the workers' function, picklable; after a restart it resumes by itself.
        make_task: makes `task` from the address and key of the driver's message server.
        workers: TensorFlow workers.
        limits: timeouts and number of retries.
        bar: show a progress bar on a terminal, lines in a log; False shows only restarts.
        listener: called with every message of the workers and the state that already includes it.
        check: called several times a second; what it raises ends the run.

    Raises:
        ClusterTooSmall: there are fewer executors than workers.
        TrainingFailed: with the first cause.
    """
    state = RunState(workers, began=time.monotonic())
    policy, display = RetryPolicy(limits.retries), create_display(workers, not bar, sys.stderr)

    def on_message(message: Message | Disconnected, state: RunState) -> None:
        display.show(message)
        listener(message, state)

    try:
        wait_for_executors(spark, workers)
        while failure := _run_attempt(spark, main, make_task, state, on_message, limits, check):
            epochs = max(state.epochs, default=0)
            if not policy.should_retry(failure, epochs):
                kind = Diverged if failure.kind == FailureKind.DIVERGED else TrainingFailed
                raise kind(policy.describe(failure))
            display.note(f"{describe(failure)}; resuming after epoch {epochs}")
            state.restart()
            _wait_for_executors_again(spark, workers, failure)
        return state
    finally:
        display.close()


def _wait_for_executors_again(spark: SparkSession, workers: int, failure: Failed) -> None:
    if session_stopped(spark.sparkContext):
        raise TrainingFailed(f"{describe(failure)}; then the Spark session ended")
    try:
        wait_for_executors(spark, workers)
    except ClusterTooSmall as error:
        raise TrainingFailed(f"{describe(failure)}; then {error}") from None


def _run_attempt(
    spark: SparkSession,
    main: WorkerMain,
    make_task: Callable[[tuple[str, int], bytes], Any],
    state: RunState,
    listener: Listener,
    limits: Train,
    check: Callable[[], None],
) -> Failed | None:
    """Launch the workers and wait for them; return the first failure, or None if all are done."""
    context = spark.sparkContext
    host = context.getConf().get("spark.driver.host", "127.0.0.1") or "127.0.0.1"
    server = MessageServer(host)
    try:
        task = make_task((host, server.port), server.authkey)
        with launch_workers(context, main, task, state.workers) as job:
            failure = _wait_for_workers(state, server, listener, job, limits, check)
            if failure:
                job.end(0)
                server.close()
                job.wait_for_tasks(END_SECONDS)
        return failure
    finally:
        server.close()


def _wait_for_workers(
    state: RunState,
    server: MessageServer,
    listener: Listener,
    job: SparkJob,
    limits: Train,
    check: Callable[[], None],
) -> Failed | None:
    """Process messages until all workers are done, or the first cause of a failure is known."""
    now = time.monotonic()
    watchdog, failed_at = Watchdog(limits, state, now), None
    while not state.finished:
        check()
        received = server.receive(POLL_SECONDS)
        if received:
            watchdog.add(received.message, received.at)
            state.add(received.message, received.at)
            listener(received.message, state)
        before, now = now, time.monotonic()
        if now - before > PAUSE_SECONDS:
            watchdog.ignore_pause(now - before)
        failure = _first_failure(state, watchdog, job, now, idle=received is None)
        if failure:
            failed_at = failed_at or now
            # A worker lost its peer while another one is silent: wait, the silent one may be the cause.
            undecided = failure.kind == FailureKind.PEER and watchdog.any_silent(now)
            if not undecided and now - failed_at >= SETTLING_SECONDS.get(FailureKind(failure.kind), 0):
                return failure
        elif now - state.began > limits.timeout_seconds:
            raise TrainingFailed(f"stopped after {limits.timeout_seconds} s (train.timeout_seconds)")
    return None


def _first_failure(
    state: RunState, watchdog: Watchdog, job: SparkJob, now: float, idle: bool
) -> Failed | None:
    """The first cause so far: a worker's own message wins over the watchdog and over Spark's report."""
    reported = state.failure
    if reported and reported.kind != FailureKind.PEER:
        return reported
    observed = watchdog.overdue(now) or (job.failure if idle else None)
    if observed and (reported is None or observed.kind != FailureKind.PEER):
        state.failure = observed
    if state.failure is None and idle and job.ended.is_set():
        state.failure = Failed(-1, "the Spark job ended before its workers were done", FailureKind.LOST)
    return state.failure
