"""Entry point of a training worker: `main(task, context)`, called by TensorFlowOnSpark in a Spark task.

After the loss of a worker the driver runs `main` again on all workers; it resumes from the newest checkpoint.
"""

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, Protocol

from conf.process_environment import bypass_proxy
from models.cpu_time import cpu_seconds
from models.messages import Done
from models.plan import WorkerTask
from models.workers import worker_failures
from models.workers.message_channel import Reporter
from models.workers.tensorflow_setup import configure
from models.workers.worker import Worker

ABANDONED_EXIT_STATUS = 3  # of a worker whose driver has ended or has given up the attempt


class Context(Protocol):
    """The attributes of TensorFlowOnSpark's TFNodeContext that the hub uses."""

    executor_id: int
    mgr: Any
    cluster_spec: dict[str, list[str]]


def main(task: WorkerTask, context: Context) -> None:
    """Train, evaluate, and write the artifacts that need TensorFlow."""
    addresses = [address for of_kind in context.cluster_spec.values() for address in of_kind]
    bypass_proxy(*(address.rpartition(":")[0] for address in addresses))
    run_worker(task, context, Worker.run)


def run_worker(task: WorkerTask, context: Context, work: Callable[[Worker], None]) -> None:
    """Run `work` with a connection to the driver, and report to it that the work is done or why it failed."""
    # TensorFlowOnSpark has started a queue server that the hub does not use. This child process inherited the
    # socket to Spark, so Spark would not notice if this process were killed.
    context.mgr.shutdown()
    with Reporter(task.address, task.authkey, context.executor_id, _exit_abandoned) as reporter:
        try:
            configure_tensorflow(task)
            work(Worker(task, context.executor_id, reporter, _neighbours(context)))
            reporter.send(Done(context.executor_id, cpu_seconds()))
        except Exception as error:
            reporter.send(worker_failures.from_exception(context.executor_id, error))
            traceback.print_exc()  # to the executor's log
            # The driver ends the attempt when it knows the first cause. If this task failed at once, Spark
            # would kill the other workers, maybe before one of them has reported the first cause.
            reporter.wait_until_abandoned(task.failure_wait_seconds)
            raise


def _neighbours(context: Context) -> int:
    """Number of workers on this machine, this one included."""
    addresses = [address for of_kind in context.cluster_spec.values() for address in of_kind]
    hosts = [address.rpartition(":")[0] for address in addresses]
    return hosts.count(hosts[context.executor_id])


def _exit_abandoned() -> None:
    """Exit this process at once, even if TensorFlow blocks: no driver waits for its results."""
    os._exit(ABANDONED_EXIT_STATUS)


def configure_tensorflow(task: WorkerTask) -> None:
    """Configure TensorFlow for the cores and GPUs that Spark gave to this task."""
    from pyspark import TaskContext

    spark_task = TaskContext.get()
    gpus = spark_task.resources().get("gpu") if spark_task else None
    addresses = gpus.addresses if gpus else []
    if (
        addresses
    ):  # otherwise executors on one machine would share the first GPU; read when devices are listed
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(addresses)
        # To the executor's log.
        print(f"hub: GPU {','.join(addresses)} of this machine", file=sys.stderr)
    configure(task.plan, spark_task.cpus() if spark_task else 1, len(addresses))
