"""Launch TensorFlowOnSpark nodes as a Spark job that the driver can watch and cancel.

The hub uses TensorFlowOnSpark's nodes, reservation server and cluster specification, but not `TFCluster`.
`TFCluster.run` stops the Spark session and exits the process when a node fails during reservation.
`TFCluster.shutdown` polls every 5 s, runs a second job that imports TensorFlow again, and sleeps.
"""

import importlib.util
import logging
import random
import secrets
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from pyspark import SparkContext
from pyspark.util import InheritableThread

from models import tensorflow_import
from models.messages import Failed
from models.runs import node_environment
from models.workers import worker_failures

END_SECONDS = 20  # for the Spark job to end once all workers are done, or for its tasks once it is cancelled
POLL_SECONDS = 0.1

WorkerMain = Callable[[Any, Any], None]


@dataclass
class SparkJob:
    """The Spark job of an attempt.

    Args:
        context: Spark context that runs it.
        group: its Spark job group.
        ended: set when the job has succeeded, failed or been cancelled.
        error: Spark's report if it failed.
    """

    context: SparkContext
    group: str
    ended: threading.Event = field(default_factory=threading.Event)
    error: str = ""

    @property
    def failure(self) -> Failed | None:
        """The failure in Spark's report; None if there is none."""
        return worker_failures.from_spark_report(self.error) if self.error else None

    def end(self, wait_seconds: float) -> None:
        """Wait for the job to end by itself, then cancel it."""
        if not self.ended.wait(wait_seconds) and not session_stopped(self.context):
            # The group has interruptOnCancel=False: if Spark interrupted its task threads, it would forget
            # the Python processes that still run, and not kill them.
            self.context.cancelJobGroup(self.group)

    def wait_for_tasks(self, seconds: float) -> bool:
        """Wait until no executor runs a task; return False after `seconds`."""
        deadline = time.monotonic() + seconds
        while not session_stopped(self.context):
            tracker = self.context._jsc.sc().statusTracker()
            if not any(info.numRunningTasks() for info in tracker.getExecutorInfos()):
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True


def session_stopped(context: SparkContext) -> bool:
    """Whether the Spark session has ended."""
    return context._jsc is None or context._jsc.sc().isStopped()


@contextmanager
def launch_workers(context: SparkContext, main: WorkerMain, task: Any, workers: int) -> Iterator[SparkJob]:
    """Run `main(task, context)` on `workers` executors while the block runs.

    After the block the job gets `END_SECONDS` to end, then it is cancelled; after an exception at once.
    """
    server = _reservation_server(context, workers)
    job = SparkJob(context, f"hub-train-{secrets.token_hex(8)}")
    meta = {
        "id": random.getrandbits(64),
        "cluster_template": {"chief": [0]} | ({"worker": list(range(1, workers))} if workers > 1 else {}),
        "num_executors": workers,
        "default_fs": context._jsc.hadoopConfiguration().get("fs.defaultFS").removesuffix("/"),
        "working_dir": ".",
        "server_addr": server.start(),
        "release_port": True,
    }
    # Spark reuses a Python process only for the same environment: this variable gives the run new processes.
    context.environment["HUB_RUN"] = job.group
    rows = context.parallelize(range(workers), workers)

    def submit() -> None:
        try:
            context.setJobGroup(job.group, f"hub train, {workers} workers", interruptOnCancel=False)
            rows.foreachPartition(lambda numbers: run_node(main, task, meta, numbers))
        except Exception as error:
            job.error = str(error) or type(error).__name__
        finally:
            job.ended.set()

    wait_seconds = 0.0
    try:
        InheritableThread(target=submit, name="hub-job", daemon=True).start()
        yield job
        wait_seconds = END_SECONDS
    finally:
        _stop_server(server, meta["server_addr"])
        job.end(wait_seconds)
        context.environment.pop("HUB_RUN", None)


def run_node(main: WorkerMain, task: Any, meta: dict[str, Any], numbers: Iterable[int]) -> None:
    """Run a TensorFlowOnSpark node in a Spark task; TensorFlow is imported during the node's reservation."""
    nodes, reservation = import_tensorflowonspark()
    node_environment.prepare(nodes, meta["server_addr"][0])
    threading.Thread(target=tensorflow_import.load, daemon=True).start()
    # TensorFlowOnSpark's own method sleeps for a second after every reply, even after the last one.
    reservation.Client.await_reservations = _await_reservations
    nodes.run(main, task, meta, False, None, [], False)(numbers)


def _await_reservations(client: Any) -> Any:
    """Wait for the reservations of all nodes; no timeout, as the driver ends a node that waits too long."""
    while not client._request("QUERY"):
        time.sleep(POLL_SECONDS)
    return client.get_reservations()


def _reservation_server(context: SparkContext, workers: int) -> Any:
    """A reservation server at the address at which executors reach this driver."""
    nodes, reservation = import_tensorflowonspark()
    if host := context.getConf().get("spark.driver.host", ""):
        node_environment.set_address(nodes, host)
    return reservation.Server(workers)


def _stop_server(server: Any, address: tuple[str, int]) -> None:
    """Stop the reservation server now: a connection wakes its loop, which otherwise waits up to a minute."""
    server.stop()
    with suppress(OSError), socket.create_connection(address, timeout=1):
        pass


def import_tensorflowonspark() -> tuple[Any, Any]:
    """Import `TFSparkNode` and `reservation`; their `compat` module loads TensorFlow lazily, not at once."""
    name = "tensorflowonspark.compat"
    logging.getLogger("tensorflowonspark").setLevel(logging.CRITICAL)  # workers report failures to the driver
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # pkg_resources, which it imports, is deprecated
        if name not in sys.modules:
            import tensorflowonspark

            spec = importlib.util.find_spec(name)
            assert spec and spec.loader
            spec.loader = importlib.util.LazyLoader(spec.loader)
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            spec.loader.exec_module(module)
            tensorflowonspark.compat = module
        from tensorflowonspark import TFSparkNode, reservation
    return TFSparkNode, reservation
