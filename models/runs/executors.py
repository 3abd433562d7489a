"""The executors of a training: wait until each worker has one, and say why a cluster does not give them."""

import os
import re
import time

from pyspark.sql import SparkSession

from conf.settings import Settings
from lake.spark.core_wait import CoreWait
from models.errors import ClusterTooSmall
from models.plan import has_gpus, trains_here

EXECUTORS_SECONDS = 60  # for executors to register
POLL_SECONDS = 0.2
ASK_SECONDS = 1.0  # between two looks at who holds the cluster's cores


def check_cores(settings: Settings, workers: int) -> None:
    """Check that a local cluster has a core for every worker.

    Raises:
        ClusterTooSmall: this machine is the cluster and has fewer cores than workers.
    """
    cores = len(os.sched_getaffinity(0))
    if trains_here(settings) and workers > cores:
        raise ClusterTooSmall(
            f"--workers {workers} is more than the {cores} cores of this machine: ask for fewer, "
            "or name a cluster in spark.train_master"
        )


def local_cores(settings: Settings, workers: int) -> int:
    """Cores of each worker on a local cluster; beside GPUs all of this machine, for their input."""
    machine = max(1, len(os.sched_getaffinity(0)) // workers)
    return machine if has_gpus(settings) else min(machine, settings.spark.train_cores)


def wait_for_executors(spark: SparkSession, workers: int) -> None:
    """Wait until every worker has an executor; the session says what it waits for.

    Raises:
        ClusterTooSmall: there are fewer executors after `EXECUTORS_SECONDS`, or after `spark.wait_seconds` if
            other applications hold the cores.
    """
    master = spark.sparkContext.master or ""
    if local := re.fullmatch(r"local-cluster\[ *(\d+).*", master):
        if int(local[1]) < workers:
            raise ClusterTooSmall(f"--workers {workers} is more than the {local[1]} executors of {master}")
    elif master.startswith("local"):
        raise ClusterTooSmall(
            f"master {master} has no executors: leave HUB__SPARK__TRAIN_MASTER empty or name a cluster"
        )
    wait = CoreWait(spark.sparkContext)
    began = asked = time.monotonic()
    while (registered := wait.executors()) < workers:
        now = time.monotonic()
        if now - asked > ASK_SECONDS:
            asked = now
            _refuse_too_long_wait(wait, workers, registered, now - began)
        time.sleep(POLL_SECONDS)


def _refuse_too_long_wait(wait: CoreWait, workers: int, registered: int, waited: float) -> None:
    use, master = wait.use(), wait.context.master
    others = wait.others(use)
    held = use is not None and bool(others) and use.cores >= wait.needed_cores
    if waited < (wait.patience if held else EXECUTORS_SECONDS):
        return
    after = f"after {waited:.0f} s"
    if use is not None and held:
        raise ClusterTooSmall(
            f"--workers {workers} still waits for {wait.missing(use)} of the {use.cores} cores of {master} "
            f"{after}; {others}: stop that command or give it fewer cores (HUB__SPARK__INGEST_CORES, "
            "HUB__SPARK__BATCH_CORES), ask for fewer workers, or wait longer (HUB__SPARK__WAIT_SECONDS)"
        )
    if use is not None and use.cores < wait.needed_cores:
        raise ClusterTooSmall(
            f"--workers {workers} needs {wait.needed_cores} cores, {master} has {use.cores}: ask for fewer "
            "workers, or add cores to the cluster"
        )
    if use is not None:
        raise ClusterTooSmall(
            f"--workers {workers}: {master} started {registered} executors {after} although it has "
            f"{use.free} free cores; does a worker have {wait.memory} of memory free (spark.executor.memory)?"
        )
    raise ClusterTooSmall(
        f"--workers {workers} is more than the {registered} executors that {master} provided {after}: ask "
        "for fewer workers, add executors, or see on the cluster's page who holds its cores"
    )
