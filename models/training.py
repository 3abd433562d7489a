"""What every worker runs: `main(task, context)`, called by TensorFlowOnSpark in a Spark task.

Spark runs the same function again after a failure; it then goes on from the newest checkpoint.
"""

import time
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Protocol

import numpy as np

from lake.snapshot import Split
from models import starts
from models.checkpoints import Checkpoint, Checkpoints
from models.epochs import Augmentation, Feed, Order, Waiting, deal
from models.errors import TrainingFailed
from models.inputs import Pace, Pictures, Rows, Takeable, equal_share, kept_side, whole_share
from models.messages import Done, EpochEnded, Failed, Started, Stepped, Working, packed
from models.plan import WorkerTask
from models.processor import cpu_seconds
from models.progress import Reporter
from models.sampling import grouped
from models.spool import Spool, share


class Context(Protocol):
    """What is used of TensorFlowOnSpark's TFNodeContext."""

    executor_id: int
    mgr: Any


def main(task: WorkerTask, context: Context) -> None:
    """Train, report, and leave the artifacts that need TensorFlow (the first worker does)."""
    # TensorFlowOnSpark has started a queue server, a child that nothing here uses. It holds this process's
    # socket to Spark open, so that Spark would not notice if this process were killed.
    context.mgr.shutdown()
    with Reporter(task.address, task.authkey) as reporter:
        try:
            configure(task)
            worker = Worker(task, context.executor_id, reporter)
            worker.train()
            worker.finish()
        except Exception as error:
            reporter.send(Failed(context.executor_id, _line(error), _is_lost_peer(error)))
            raise


def configure(task: WorkerTask) -> None:
    """Take the cores that Spark gave the task, not those of the machine, and one device."""
    import keras
    import tensorflow as tf
    from pyspark import TaskContext

    spark_task = TaskContext.get()
    cores = spark_task.cpus() if spark_task else 1
    tf.config.threading.set_intra_op_parallelism_threads(cores)
    tf.config.threading.set_inter_op_parallelism_threads(cores)
    tf.config.set_visible_devices(tf.config.list_physical_devices("GPU")[:1], "GPU")
    keras.config.set_floatx(task.plan.floatx)
    keras.utils.set_random_seed(task.plan.seed)


class Worker:
    """One worker's run.

    Args:
        task: what to do.
        number: of this worker, from 0; worker 0 also writes checkpoints, logs and the model.
        reporter: to the driver.
    """

    def __init__(self, task: WorkerTask, number: int, reporter: Reporter) -> None:
        from models.learner import Learner

        self._task, self._number, self._reporter = task, number, reporter
        plan, snapshot = task.plan, task.snapshot
        rows = snapshot.rows(Split.TRAIN)
        self._pace = Pace.of(rows, plan.workers, plan.batch_size, plan.group)
        self._memory = plan.cache_mb * 2**20
        training = self._share(Split.TRAIN, equal_share(rows, number, plan.workers))
        self._validation = self._measured_share(Split.VALIDATION)
        self._checkpoints = Checkpoints(task.artifacts.below("checkpoints"))
        start = starts.read(task.artifacts) if plan.weights or plan.source else None
        self._learner = Learner(plan, self._pace, len(snapshot.labels), start)
        # Only now: the strategy must be made before TensorFlow is used for anything.
        self._feed = Feed(training, plan.side, plan.randaugment_magnitude)

    def _share(self, split: Split, rows: Rows) -> Pictures | Spool:
        """Rows of a split, in memory as long as there is room."""
        found = share(self._task.snapshot, split, rows, self._task.plan.side, self._memory)
        self._memory -= found.images.nbytes if isinstance(found, Pictures) else 0
        return found

    def _measured_share(self, split: Split) -> Pictures | Spool:
        rows = self._task.snapshot.rows(split)
        return self._share(split, whole_share(rows, self._number, self._task.plan.workers))

    def train(self) -> None:
        """Run the epochs that are still to be run."""
        plan = self._task.plan
        finished = self._resume()
        self._reporter.send(Started(self._number, plan.epochs, self._pace.steps, self._pace.batch, finished))
        with self._logs() as logs:
            for epoch in range(finished + 1, plan.epochs + 1):
                ended = self._epoch(epoch)
                if self._number == 0:
                    _log(logs, ended)
                    self._checkpoints.write(Checkpoint(epoch, self._learner.values()))
                    self._reporter.send(ended)

    def _resume(self) -> int:
        """Set the variables from the newest checkpoint; the first worker decides which one that is."""
        found = self._checkpoints.newest()
        mine = found.epochs if found and self._number == 0 else 0
        finished = int(self._learner.summed(np.array([float(mine)]))[0])
        if finished:
            chosen = found if found and found.epochs == finished else self._checkpoints.read(finished)
            self._learner.assign(chosen.values)
        return finished

    def _epoch(self, epoch: int) -> EpochEnded:
        plan, pace = self._task.plan, self._pace
        drawn = deal(
            len(self._feed.labels),
            pace,
            kept_side(plan.side) - plan.side,
            Augmentation.of(plan, self._task.snapshot.flip),
            (plan.seed, epoch, self._number),
            self._order(),
        )
        self._learner.freeze(epoch <= plan.freeze_epochs)
        began = time.monotonic()
        total = np.zeros(3)
        waiting = Waiting(self._feed.epoch(drawn))
        for step, batch in enumerate(waiting, start=1):
            total[:2] += self._learner.step(*batch).numpy()
            total[2] += pace.batch
            if not np.isfinite(total[0]):
                raise TrainingFailed(f"the loss is {total[0]} in epoch {epoch}; try a lower --learning-rate")
            if step == 1 or self._reporter.due():
                rate = total[2] / (time.monotonic() - began)
                loss, correct = total[:2] / total[2]
                self._reporter.send(Stepped(self._number, epoch, step, rate, loss, correct))
        seconds = time.monotonic() - began
        loss, correct, seen, waited = self._learner.summed(np.append(total, waiting.seconds / seconds))
        validation = self._learner.measure(self._validation, plan.side, pace.batch)
        return EpochEnded(
            worker=self._number,
            epoch=epoch,
            loss=loss / seen,
            accuracy=correct / seen,
            validation_loss=validation[0] / validation[2]
            if np.isfinite(validation[0]) and validation[2]
            else None,
            validation_accuracy=validation[1] / validation[2] if validation[2] else None,
            learning_rate=self._learner.rates[epoch * pace.steps - 1],
            seconds=seconds,
            images_per_second=seen / seconds,
            input_wait_share=waited / plan.workers,
        )

    def _order(self) -> Order | None:
        """How triplets' rows are drawn; None leaves it to chance."""
        plan, pace = self._task.plan, self._pace
        if plan.objective != "triplet":
            return None
        return partial(grouped, self._feed.labels, pace.steps, pace.batch, plan.images_per_label)

    def _logs(self) -> AbstractContextManager[Any]:
        """TensorBoard's writer on the first worker."""
        if self._number:
            return nullcontext()
        from models.export import Logs

        return Logs(self._task.artifacts.below("tensorboard"))

    def finish(self) -> None:
        """Measure on the test split; the first worker also writes the model, the last one as integers."""
        from models import export

        plan, model = self._task.plan, self._learner.plain_model()
        labels = self._task.snapshot.labels if plan.objective == "labels" else ()
        exported = export.Exported(model, self._task.model_id, labels)
        self._reporter.send(Working(self._number, "testing"))
        test = self._measured_share(Split.TEST)
        if plan.objective == "triplet":
            self._embed(model, test)
        else:
            self._answer(model, test)
        if self._number == 0:
            self._reporter.send(Working(self._number, "writing the model"))
            export.write(exported, self._task.artifacts)
        if self._number == plan.workers - 1:  # at the same time, where there are several
            pictures = export.calibration_pictures(self._task.snapshot, plan.side)
            export.write_int8(exported, self._task.artifacts, pictures)
        self._reporter.send(Done(self._number, cpu_seconds()))

    def _embed(self, model: Any, test: Takeable) -> None:
        from models.evaluation import embeddings

        for split, pictures in ((Split.VALIDATION, self._validation), (Split.TEST, test)):
            found = embeddings(model, pictures, self._task.plan.side)
            self._reporter.send(packed(self._number, split, found))

    def _answer(self, model: Any, test: Takeable) -> None:
        from models.evaluation import answers

        self._reporter.send(answers(model, test, self._task.plan.side, self._number))


def _log(logs: Any, ended: EpochEnded) -> None:
    logs.add(
        ended.epoch,
        {
            "loss/train": ended.loss,
            "loss/validation": ended.validation_loss,
            "accuracy/train": ended.accuracy,
            "accuracy/validation": ended.validation_accuracy,
            "learning rate": ended.learning_rate,
            "images per second": ended.images_per_second,
            "input wait share": ended.input_wait_share,
        },
    )


def _line(error: BaseException) -> str:
    """Type and message in one line, without the Python stack that TensorFlow puts into its messages."""
    noise = ("File ", "Graph execution error", "Detected at node", "[[{{node", "Traceback")
    lines = (line.strip() for line in str(error).splitlines())
    message = " ".join(line for line in lines if line and not line.startswith(noise))
    return f"{type(error).__name__}: {message[:300]}" if message else type(error).__name__


def _is_lost_peer(error: BaseException) -> bool:
    """Whether TensorFlow says that another worker does not answer."""
    import tensorflow as tf

    kinds = (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
    )
    return isinstance(error, kinds) or (
        isinstance(error, tf.errors.InternalError) and "ollective" in str(error)
    )
