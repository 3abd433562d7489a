"""One worker's run: its epochs, measurements and checkpoints, and what it leaves of the model."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lake.snapshot import Split
from models import preload
from models.errors import Diverged
from models.evaluation.metrics import answers, embeddings, tally, tally_retrieval
from models.formats import export
from models.formats.export import Exported, Logs
from models.messages import EpochEnded, Started, Stepped, packed
from models.pictures.disk_cache import DiskCache, share
from models.pictures.epoch_plan import Augmentation, EpochPlan, InputPipeline, Sampler, Waiting, plan_epoch
from models.pictures.inputs import (
    BatchSchedule,
    ImageSource,
    Pictures,
    Rows,
    equal_share,
    kept_side,
    whole_share,
)
from models.pictures.sampling import grouped
from models.plan import WorkerTask
from models.workers import initial_weights
from models.workers.checkpoints import Checkpoint, CheckpointOwner, Checkpoints
from models.workers.message_channel import Reporter

_ADVICE = "try a lower --learning-rate"


class Worker:
    """One worker's run.

    Args:
        task: what to do.
        number: of this worker, from 0; worker 0 also writes checkpoints, logs and the model.
        reporter: to the driver.
    """

    def __init__(self, task: WorkerTask, number: int, reporter: Reporter) -> None:
        from models.workers.learner import Learner

        self._task, self._number, self._reporter = task, number, reporter
        plan, snapshot = task.plan, task.snapshot
        rows = snapshot.rows(Split.TRAIN)
        self._pace = BatchSchedule.of(rows, plan.workers, plan.batch_size, plan.group)
        self._memory = plan.cache_mb * 2**20
        training = self._share(Split.TRAIN, equal_share(rows, number, plan.workers))
        self._validation = self._measured_share(Split.VALIDATION)
        of = CheckpointOwner(plan.architecture, plan.dataset_id, task.run)
        self._checkpoints = Checkpoints(task.artifacts.below("checkpoints"), of, task.keep)
        self._history: list[EpochEnded] = []
        self._test: Future[ImageSource] | None = None
        reporter.work("making the model")
        start = initial_weights.read(task.artifacts) if plan.weights or plan.source else None
        self._learner = Learner(plan, self._pace, len(snapshot.labels), start)
        labels = snapshot.labels if plan.objective == "labels" else ()
        self._exported = Exported(self._learner.plain, task.model_id, labels)
        # Only now: the strategy must be made before TensorFlow is used for anything.
        self._feed = InputPipeline(training, plan.side, plan.randaugment_magnitude)

    def _share(self, split: Split, rows: Rows) -> Pictures | DiskCache:
        """Rows of a split, in memory as long as there is room."""
        found = share(self._task.snapshot, split, rows, self._task.plan.side, self._memory)
        self._memory -= found.images.nbytes if isinstance(found, Pictures) else 0
        return found

    def _measured_share(self, split: Split) -> Pictures | DiskCache:
        rows = self._task.snapshot.rows(split)
        return self._share(split, whole_share(rows, self._number, self._task.plan.workers))

    def run(self) -> None:
        """Everything, one after the other."""
        self.train()
        self.finish()

    def train(self) -> None:
        """Run the epochs that are still to be run."""
        plan = self._task.plan
        finished = self._resume()
        self._reporter.send(Started(self._number, plan.epochs, self._pace.steps, self._pace.batch, finished))
        with self._logs() as logs:
            for ended in self._history if self._number == 0 else ():
                _log(logs, ended)
                self._reporter.send(ended)
            epochs = range(finished + 1, plan.epochs + 1)
            batches = self._feed.batches(map(self._deal, epochs)) if epochs else iter(())
            for epoch in epochs:
                ended = self._epoch(epoch, batches)
                if self._number == 0:
                    self._save(ended)
                    _log(logs, ended)
                    self._reporter.send(ended)

    def _save(self, ended: EpochEnded) -> None:
        """Write a checkpoint, unless nothing could go on from it.

        Raises:
            Diverged: a variable is no finite number.
            StorageError: it cannot be written.
        """
        values = self._learner.values()
        if not all(np.isfinite(value).all() for value in values if value.dtype.kind == "f"):
            raise Diverged(f"the weights are not finite after epoch {ended.epoch}; {_ADVICE}")
        self._history.append(ended)
        self._checkpoints.write(Checkpoint(ended.epoch, values, self._learner.names(), tuple(self._history)))

    def _resume(self) -> int:
        """Set the variables from the newest checkpoint; the first worker decides which one that is."""
        found = self._checkpoints.newest()
        mine = found.epochs if found and self._number == 0 else 0
        finished = int(self._learner.summed(np.array([float(mine)]))[0])
        if finished:
            chosen = found if found and found.epochs == finished else self._checkpoints.read(finished)
            self._learner.assign(chosen.values, chosen.names)
            self._learner.update_plain()  # what is written where no epoch is left to run
            self._history = list(chosen.history)
        return finished

    def _deal(self, epoch: int) -> EpochPlan:
        plan = self._task.plan
        return plan_epoch(
            len(self._feed.labels),
            self._pace,
            kept_side(plan.side) - plan.side,
            Augmentation.of(plan, self._task.snapshot.flip),
            (plan.seed, epoch, self._number),
            self._order(),
        )

    def _epoch(self, epoch: int, batches: Iterator[Any]) -> EpochEnded:
        plan, pace = self._task.plan, self._pace
        self._reporter.work(f"starting epoch {epoch}")
        if epoch == plan.epochs:
            preload.prefetch_libraries()
            self._test = ThreadPoolExecutor(1).submit(self._measured_share, Split.TEST)
        self._learner.freeze(epoch <= plan.freeze_epochs)
        began = time.monotonic()
        total = np.zeros(3)
        waiting = Waiting(islice(batches, pace.steps))
        for step, batch in enumerate(waiting, start=1):
            total[:2] += self._learner.step(*batch).numpy()
            total[2] += pace.batch
            self._reporter.stepped()
            if not np.isfinite(total[0]):
                raise Diverged(f"the loss is {total[0]} in epoch {epoch}; {_ADVICE}")
            if step in (1, pace.steps) or self._reporter.due():
                rate = total[2] / (time.monotonic() - began)
                loss, correct = total[:2] / total[2]
                self._reporter.send(Stepped(self._number, epoch, step, rate, loss, correct))
        seconds = time.monotonic() - began
        loss, correct, seen, waited = self._learner.summed(np.append(total, waiting.seconds / seconds))
        self._reporter.work(f"measuring epoch {epoch}")
        self._learner.sync_moments()
        validation = self._validated()
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

    def _validated(self) -> NDArray[np.float64]:
        """Sums over the validation pictures of all workers, as `tally`.

        Measured is what will be written, by the function that will be: it is traced once, in the first epoch,
        and not after the last.
        """
        self._learner.update_plain()
        count = tally_retrieval if self._task.plan.objective == "triplet" else tally
        return self._learner.summed(count(self._exported.answer, self._validation, self._task.plan.side))

    def _order(self) -> Sampler | None:
        """How triplets' rows are drawn; None leaves it to chance."""
        plan, pace = self._task.plan, self._pace
        if plan.objective != "triplet":
            return None
        return partial(grouped, self._feed.labels, pace.steps, pace.batch, plan.images_per_label)

    def _logs(self) -> AbstractContextManager[Any]:
        """TensorBoard's writer on the first worker."""
        if self._number:
            return nullcontext()
        return Logs(self._task.artifacts.below("tensorboard"))

    def finish(self) -> None:
        """Measure on the test split; the first worker also writes the model, the last one for phones."""
        plan = self._task.plan
        self._reporter.work("testing")
        test = self._test.result() if self._test else self._measured_share(Split.TEST)
        if plan.objective == "triplet":
            self._embed(test)
        else:
            self._answer(test)
        if self._number == 0:
            self._reporter.work("writing the model")
            export.write(self._exported, self._task.artifacts)
        if self._number == plan.workers - 1:  # at the same time, where there are several
            self._reporter.work("writing the model for phones")
            pictures = export.calibration_pictures(self._task.snapshot, plan.side)
            export.write_tflite(self._exported, self._task.artifacts, pictures)

    def _embed(self, test: ImageSource) -> None:
        for split, pictures in ((Split.VALIDATION, self._validation), (Split.TEST, test)):
            found = embeddings(self._exported.answer, pictures, self._task.plan.side)
            self._reporter.send(packed(self._number, split, found))

    def _answer(self, test: ImageSource) -> None:
        self._reporter.send(answers(self._exported.answer, test, self._task.plan.side, self._number))


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
