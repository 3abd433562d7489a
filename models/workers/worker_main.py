"""What every worker runs: `main(task, context)`, called by TensorFlowOnSpark in a Spark task.

The driver runs the same function again when a worker was lost; it then goes on from the newest checkpoint.
"""

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, Protocol

from models import tensorflow_import
from models.cpu_time import cpu_seconds
from models.messages import Done
from models.plan import WorkerTask
from models.workers import worker_failures
from models.workers.message_channel import Reporter
from models.workers.worker import Worker

ABANDONED = 3  # exit status of a worker whose driver has gone


class Context(Protocol):
    """What is used of TensorFlowOnSpark's TFNodeContext."""

    executor_id: int
    mgr: Any


def main(task: WorkerTask, context: Context) -> None:
    """Train, measure, and leave the artifacts that need TensorFlow (the first worker does)."""
    attended(task, context, Worker.run)


def attended(task: WorkerTask, context: Context, work: Callable[[Worker], None]) -> None:
    """Do a worker's work while the driver is kept informed, of how it ends as well."""
    # TensorFlowOnSpark has started a queue server, a child that nothing here uses. It holds this process's
    # socket to Spark open, so that Spark would not notice if this process were killed.
    context.mgr.shutdown()
    with Reporter(task.address, task.authkey, context.executor_id, _leave) as reporter:
        try:
            configure(task)
            work(Worker(task, context.executor_id, reporter))
            reporter.send(Done(context.executor_id, cpu_seconds()))
        except Exception as error:
            reporter.send(worker_failures.failed(context.executor_id, error))
            traceback.print_exc()  # into the executor's log
            # The driver ends the attempt when it knows the first cause. Spark would at once kill the others,
            # among them the one that has it.
            reporter.wait_for_the_end(task.patience)
            raise


def _leave() -> None:
    """End this process, whatever TensorFlow waits for: nobody would take what it makes."""
    os._exit(ABANDONED)


def configure(task: WorkerTask) -> None:
    """Take the cores that Spark gave the task, not those of the machine, and one device."""
    from pyspark import TaskContext

    spark_task = TaskContext.get()
    gpus = spark_task.resources().get("gpu") if spark_task else None
    if gpus:  # executors on one machine would else share its first; TensorFlow looks when it lists devices
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus.addresses)
        print(
            f"hub: GPU {','.join(gpus.addresses)} of this machine", file=sys.stderr
        )  # to the executor's log

    tensorflow_import.load()
    import keras
    import tensorflow as tf

    cores = spark_task.cpus() if spark_task else 1
    tf.config.threading.set_intra_op_parallelism_threads(cores)
    tf.config.threading.set_inter_op_parallelism_threads(cores)
    tf.config.set_visible_devices(tf.config.list_physical_devices("GPU")[:1], "GPU")
    keras.config.set_floatx(task.plan.floatx)
    keras.utils.set_random_seed(task.plan.seed)
