"""One launch of TensorFlowOnSpark's nodes as a Spark job that can be watched and ended.

Its `TFCluster.run` and `shutdown` are not called: while nodes reserve their places the first stops the Spark
session and the process when one fails; the second waits in steps of 5 s, runs a second job that imports
TensorFlow again, and sleeps. Nodes, reservations and cluster specification are TensorFlowOnSpark's.
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
from models.workers import worker_failures

END_SECONDS = 20  # for the Spark job to end when all workers are done, or when it was cancelled
POLL_SECONDS = 0.1

Main = Callable[[Any, Any], None]


@dataclass
class Job:
    """The Spark job of an attempt.

    Args:
        context: that runs it.
        group: its Spark job group.
        ended: set when the job has, one way or the other.
        error: Spark's report if it failed.
    """

    context: SparkContext
    group: str
    ended: threading.Event = field(default_factory=threading.Event)
    error: str = ""

    @property
    def failure(self) -> Failed | None:
        """What Spark says of it, if it failed."""
        return worker_failures.of_job(self.error) if self.error else None

    def end(self, patience: float) -> None:
        """Wait so many seconds for the job to end by itself, then cancel it."""
        if not self.ended.wait(patience) and not stopped(self.context):
            # Not interrupted: Spark would forget the Python processes that still run, and not kill them.
            self.context.cancelJobGroup(self.group)

    def gone(self, seconds: float) -> bool:
        """Wait for the executors to have no task of it any more."""
        deadline = time.monotonic() + seconds
        while not stopped(self.context):
            tracker = self.context._jsc.sc().statusTracker()
            if not any(info.numRunningTasks() for info in tracker.getExecutorInfos()):
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True


def stopped(context: SparkContext) -> bool:
    """Whether the session has ended."""
    return context._jsc is None or context._jsc.sc().isStopped()


@contextmanager
def launched(context: SparkContext, main: Main, task: Any, workers: int) -> Iterator[Job]:
    """Run `main(task, context)` on each of `workers` executors; the job has ended after the block.

    An exception in the block, and `Job.end`, cancel it.
    """
    server = _server(workers)
    job = Job(context, f"hub-train-{secrets.token_hex(8)}")
    meta = {
        "id": random.getrandbits(64),
        "cluster_template": {"chief": [0]} | ({"worker": list(range(1, workers))} if workers > 1 else {}),
        "num_executors": workers,
        "default_fs": context._jsc.hadoopConfiguration().get("fs.defaultFS").removesuffix("/"),
        "working_dir": ".",
        "server_addr": server.start(),
        "release_port": True,
    }
    # Spark keeps Python processes apart by their environment: this run gets fresh ones in any session.
    context.environment["HUB_RUN"] = job.group
    rows = context.parallelize(range(workers), workers)

    def submit() -> None:
        try:
            context.setJobGroup(job.group, f"hub train, {workers} workers", interruptOnCancel=False)
            rows.foreachPartition(lambda numbers: node(main, task, meta, numbers))
        except Exception as error:
            job.error = str(error) or type(error).__name__
        finally:
            job.ended.set()

    patience = 0.0
    try:
        InheritableThread(target=submit, name="hub-job", daemon=True).start()
        yield job
        patience = END_SECONDS
    finally:
        _stop(server, meta["server_addr"])
        job.end(patience)
        context.environment.pop("HUB_RUN", None)


def node(main: Main, task: Any, meta: dict[str, Any], numbers: Iterable[int]) -> None:
    """A node of the cluster: TensorFlowOnSpark's own, while TensorFlow is imported beside its reservation."""
    nodes, reservation = tensorflowonspark()
    threading.Thread(target=tensorflow_import.load, daemon=True).start()
    # Its own waits a second after every answer, the last one too.
    reservation.Client.await_reservations = _await_reservations
    nodes.run(main, task, meta, False, None, [], False)(numbers)


def _await_reservations(client: Any) -> Any:
    """The places of all nodes; the driver ends a node that waits too long."""
    while not client._request("QUERY"):
        time.sleep(POLL_SECONDS)
    return client.get_reservations()


def _server(workers: int) -> Any:
    return tensorflowonspark()[1].Server(workers)


def _stop(server: Any, address: tuple[str, int]) -> None:
    """Close the reservation server's socket now; it looks up only when somebody calls, or after a minute."""
    server.stop()
    with suppress(OSError), socket.create_connection(address, timeout=1):
        pass


def tensorflowonspark() -> tuple[Any, Any]:
    """Its nodes and reservations, without TensorFlow, which its `compat` would import at once."""
    name = "tensorflowonspark.compat"
    logging.getLogger("tensorflowonspark").setLevel(logging.CRITICAL)  # causes are told by the workers
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
