"""The share of a cluster's cores that each command takes, so that several commands run on it side by side.

Docs: docs/clusters.md.
"""

import sys

from conf.sections import Spark
from lake.spark import core_wait, master_page

HERE = "local[*]"  # the command's own process
# Commands that read little: without a share they need no cluster. The other commands are batch jobs.
_QUERIES = {"sql", "rejects", "replay", "report"}
_INGESTIONS = {"ingest", "demo"}
_AUTOMATIC_PART = 3  # without a setting a command takes one core of so many
_IDLE_SECONDS = "30s"


def master_of(spark: Spark, app: str) -> str:
    """The master of a command's session; a query without a share of the cluster runs in its own process."""
    here = app in _QUERIES and not spark.sql_cores and not is_local(spark.master)
    return HERE if here else spark.master


def is_local(master: str) -> bool:
    """Whether a master is this machine, which nobody shares."""
    return master.startswith("local")


def properties(spark: Spark, app: str, master: str, workers: int) -> dict[str, str]:
    """Spark properties that limit a command to its share; none on a local master.

    Args:
        spark: the settings.
        app: name of the command.
        master: of its session.
        workers: executors that a training needs; 0 for another command.
    """
    if is_local(master):
        return {}
    told = {
        core_wait.PAGE: master_page.address_of(spark, master),
        core_wait.NEEDED: str(workers or 1),
        core_wait.PATIENCE: str(spark.wait_seconds),
    }
    return told | (_of_workers(spark, workers) if workers else _of_command(spark, app, master))


def _of_workers(spark: Spark, workers: int) -> dict[str, str]:
    """Each training worker has an executor of its own."""
    cores = str(spark.train_cores)
    total = str(workers * spark.train_cores)
    return {"spark.executor.cores": cores, "spark.task.cpus": cores, "spark.cores.max": total}


def _of_command(spark: Spark, app: str, master: str) -> dict[str, str]:
    """A standalone master limits cores, YARN and Kubernetes limit executors, which have one core each."""
    cores = _cores(spark, app)
    standalone = master.startswith("spark://")
    if standalone and not cores:
        cores = _automatic_share(spark, master)
    limits = _dynamic_allocation(cores) if spark.dynamic_allocation else {}
    if standalone:
        return limits | {"spark.cores.max": str(cores)}
    if not cores:
        return limits
    # The second counts where the cluster's own configuration turns dynamic allocation on.
    executors = {"spark.executor.instances": str(cores), "spark.dynamicAllocation.maxExecutors": str(cores)}
    return limits or executors


def _cores(spark: Spark, app: str) -> int:
    if app in _QUERIES:
        return spark.sql_cores
    return spark.ingest_cores if app in _INGESTIONS else spark.batch_cores


def _automatic_share(spark: Spark, master: str) -> int:
    """A third of the cluster's cores, at least one: two training workers fit beside it on three cores."""
    page = master_page.address_of(spark, master)
    use = master_page.read(page)
    if use is None:
        print(f"{page} does not tell the cluster's cores (spark.master_page): taking 1 core", file=sys.stderr)
    return max(1, use.cores // _AUTOMATIC_PART) if use else 1


def _dynamic_allocation(cores: int) -> dict[str, str]:
    """Properties with which a command gives executors back that have had nothing to do for a while."""
    limits = {
        "spark.dynamicAllocation.enabled": "true",
        "spark.dynamicAllocation.shuffleTracking.enabled": "true",
        "spark.dynamicAllocation.minExecutors": "0",
        "spark.dynamicAllocation.executorIdleTimeout": _IDLE_SECONDS,
        # What executors keep of earlier jobs (table states, shuffle files) is computed again if needed.
        "spark.dynamicAllocation.cachedExecutorIdleTimeout": _IDLE_SECONDS,
        "spark.dynamicAllocation.shuffleTracking.timeout": _IDLE_SECONDS,
        "spark.executor.cores": "1",
    }
    return limits | ({"spark.dynamicAllocation.maxExecutors": str(cores)} if cores else {})
