"""One training worker in this process, without Spark: `python -m benchmarks.gpu.worker JSON`.

It runs `Worker.train` with a real message server, so step, input, validation and checkpoints are those of
`hub train`. It prints one line of JSON.
"""

import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu.loads import Load, s3_defaults, snapshot_of
from lake.storage import Storage
from models.messages import EpochEnded, Stepped
from models.plan import TrainingPlan, WorkerTask

UNCOUNTED = 2  # first epochs: TensorFlow and XLA compile, caches fill


@dataclass(frozen=True)
class Order:
    """What a process measures.

    Args:
        load: the training.
        folder: of the snapshots.
        epochs: the first two are not counted.
        cores: of the worker.
        jit: `train.jit` of the hub; whether `fit` compiles.
        small: few pictures, for a trial without a GPU.
        deterministic: `train.deterministic`.
    """

    load: Load
    folder: str
    epochs: int
    cores: int
    jit: str
    small: bool
    deterministic: bool = False

    @classmethod
    def read(cls, text: str) -> "Order":
        """From JSON."""
        values: dict[str, Any] = json.loads(text)
        return cls(Load(**values.pop("load")), **values)


def measure(order: Order) -> dict[str, float]:
    """Train, and return images per second, shares of time, and seconds to the first step."""
    began = time.monotonic()
    snapshot = snapshot_of(order.load, Path(order.folder), order.small)
    plan = plan_of(order)
    from models.workers.message_channel import MessageServer, Reporter
    from models.workers.tensorflow_setup import configure
    from models.workers.worker import Worker

    configure(plan, order.cores)
    server = MessageServer("127.0.0.1")
    with tempfile.TemporaryDirectory() as folder:
        address = "127.0.0.1", server.port
        artifacts = Storage(folder, s3_defaults())
        task = WorkerTask(plan, "bench", snapshot, artifacts, address, server.authkey)
        with Reporter(address, server.authkey) as reporter:
            Worker(task, 0, reporter).train()
        ended, first = [], None
        while received := server.receive(1):
            if isinstance(received.message, Stepped) and first is None:
                first = received.at - began
            if isinstance(received.message, EpochEnded):
                ended.append(received.message)
        server.close()
    return figures(ended, first or 0.0)


def plan_of(order: Order) -> TrainingPlan:
    """The plan of a load; what it does not say is as the settings say."""
    from conf import settings

    load = order.load
    return TrainingPlan.of(
        settings.load(), "bench", 1, architecture=load.architecture, side=load.side, batch_size=load.batch,
        epochs=order.epochs, randaugment=load.randaugment, randaugment_magnitude=5.0,
        cache_mb=None if load.cached else 0, precision="auto", jit=order.jit,
        deterministic=order.deterministic,
    )  # fmt: skip


def figures(ended: list[EpochEnded], first: float) -> dict[str, float]:
    """The result of counted epochs."""
    from models.runs.time_shares import TimeShares

    counted = ended[UNCOUNTED:] or ended
    seconds = sum(row.seconds for row in counted)
    shares = TimeShares.of(counted)
    return {
        "images_per_second": sum(row.images_per_second * row.seconds for row in counted) / seconds,
        "input_wait_share": sum(row.input_wait_share * row.seconds for row in counted) / seconds,
        "measuring_share": shares.measuring,
        "seconds_to_first_step": first,
    }


if __name__ == "__main__":
    print(json.dumps(measure(Order.read(sys.argv[1]))))
