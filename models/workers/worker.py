"""A training worker: epochs, validation, checkpoints, resumption, test evaluation and export."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np

from lake.snapshot import Split
from models import preload
from models.errors import Diverged
from models.evaluation.metrics import predict_all, sum_metrics
from models.evaluation.retrieval import embed_all, gallery_rows, sum_retrieval_metrics
from models.formats import export
from models.formats.export import ExportableModel, TensorBoardLogs
from models.messages import EpochEnded, Started, pack_embeddings
from models.pictures.cores import task_cores
from models.pictures.disk_cache import DiskCache, load_rows
from models.pictures.epoch_plan import Augmentation, EpochPlan, Sampler, plan_epoch
from models.pictures.input_pipeline import InputPipeline
from models.pictures.inputs import (
    BatchSchedule,
    ImageSource,
    Pictures,
    RowRange,
    evaluation_rows,
    resized_side,
    training_rows,
)
from models.pictures.memory import cache_bytes
from models.pictures.sampling import sample_label_groups
from models.plan import WorkerTask
from models.workers import initial_weights
from models.workers.checkpoints import Checkpoint, CheckpointOwner, Checkpoints
from models.workers.epoch_log import log_epoch
from models.workers.message_channel import Reporter
from models.workers.step_loop import ADVICE, StepLoop


class Worker:
    """One worker's part of a training run.

    Args:
        task: from the driver.
        number: number of this worker, from 0; worker 0 also writes checkpoints, logs and the model.
        reporter: connection to the driver.
        neighbours: workers on this machine, this one included.
    """

    def __init__(self, task: WorkerTask, number: int, reporter: Reporter, neighbours: int = 1) -> None:
        from models.workers import replicas
        from models.workers.learner import Learner

        self._task, self._number, self._reporter = task, number, reporter
        plan, snapshot = task.plan, task.snapshot
        rows = snapshot.row_count(Split.TRAIN)
        self._free_cache = cache_bytes(plan.cache_mb, neighbours)
        training = self._load_rows(Split.TRAIN, training_rows(rows, number, plan.workers))
        self._validation = self._load_evaluation_rows(Split.VALIDATION)
        owner = CheckpointOwner(plan.architecture, plan.dataset_id, task.run_fingerprint)
        self._checkpoints = Checkpoints(task.artifacts.subfolder("checkpoints"), owner, task.keep_checkpoints)
        self._history: list[EpochEnded] = []
        self._tested: Future[dict[Split, ImageSource]] | None = None
        reporter.start_phase("building the model")
        start = initial_weights.read(task.artifacts) if plan.has_initial_weights else None
        # TensorFlow wants the strategy to be created before any other operation.
        strategy = replicas.make_strategy(plan.workers)
        devices = replicas.local_count(strategy)
        batch = plan.batch_size or replicas.agree_on_batch(
            strategy, plan, number, rows // plan.workers, self._resumed_batch()
        )
        self._schedule = BatchSchedule.of(rows, plan.workers, batch, plan.batch_multiple * devices)
        self._learner = Learner(
            plan, self._schedule, len(snapshot.labels), start, snapshot.class_weights, strategy
        )
        labels = snapshot.labels if plan.objective == "labels" else ()
        self._export = ExportableModel(self._learner.export_model, task.model_id, labels)
        self._pipeline = InputPipeline(
            training, plan.side, plan.randaugment_magnitude, task_cores(), devices,
            replicas.device_distributor(strategy),
        )  # fmt: skip
        self._loop = StepLoop(self._learner.step, self._schedule, number, reporter)
        self._saving, self._exchange = 0.0, 0.0  # seconds: of the last checkpoint, of a step's exchanges

    def _load_rows(self, split: Split, rows: RowRange) -> Pictures | DiskCache:
        """Load rows of a split, into memory while the cache has room, otherwise onto disk."""
        pictures = load_rows(self._task.snapshot, split, rows, self._task.plan.side, self._free_cache)
        self._free_cache -= pictures.images.nbytes if isinstance(pictures, Pictures) else 0
        return pictures

    def _load_evaluation_rows(self, split: Split) -> Pictures | DiskCache:
        rows = self._task.snapshot.row_count(split)
        return self._load_rows(split, evaluation_rows(rows, self._number, self._task.plan.workers))

    def _resumed_batch(self) -> int:
        """The batch size of the run that is resumed; 0 for a new run."""
        newest = self._checkpoints.newest()
        return newest.batch if newest else 0

    def run(self) -> None:
        """Train, evaluate and export."""
        self.train()
        self.finish()

    def train(self) -> None:
        """Resume from the newest checkpoint, if there is one, and run the remaining epochs."""
        plan, schedule = self._task.plan, self._schedule
        finished = self._resume()
        self._reporter.send(Started(self._number, plan.epochs, schedule.steps, schedule.batch, finished))
        with self._tensorboard() as logs:
            for metrics in self._history if self._number == 0 else ():
                log_epoch(logs, metrics)
                self._reporter.send(metrics)
            epochs = range(finished + 1, plan.epochs + 1)
            batches = self._pipeline.batches(map(self._plan_epoch, epochs)) if epochs else iter(())
            for epoch in epochs:
                metrics = self._run_epoch(epoch, batches)
                if self._number == 0:
                    began = time.monotonic()
                    self._save(metrics)
                    log_epoch(logs, metrics)
                    self._saving = time.monotonic() - began
                    self._reporter.send(metrics)

    def _save(self, ended: EpochEnded) -> None:
        """Write a checkpoint, unless the weights have diverged.

        Raises:
            Diverged: a variable is NaN or infinite.
            StorageError: it cannot be written.
        """
        values = self._learner.values()
        if not all(np.isfinite(value).all() for value in values if value.dtype.kind == "f"):
            raise Diverged(f"the weights are not finite after epoch {ended.epoch}; {ADVICE}")
        self._history.append(ended)
        self._checkpoints.write(
            Checkpoint(ended.epoch, values, self._learner.names(), tuple(self._history), self._schedule.batch)
        )

    def _resume(self) -> int:
        """Restore the newest checkpoint of worker 0 on every worker; return the number of finished epochs."""
        newest = self._checkpoints.newest()
        chosen_here = newest.epochs if newest and self._number == 0 else 0
        finished = int(self._learner.sum_over_workers(np.array([float(chosen_here)]))[0])
        if finished:
            checkpoint = newest if newest and newest.epochs == finished else self._checkpoints.read(finished)
            self._learner.assign(checkpoint.values, checkpoint.names)
            self._learner.update_export_model()  # it is exported as it is if no epoch is left to run
            self._history = list(checkpoint.history)
        return finished

    def _plan_epoch(self, epoch: int) -> EpochPlan:
        plan = self._task.plan
        return plan_epoch(
            len(self._pipeline.labels),
            self._schedule,
            resized_side(plan.side) - plan.side,
            Augmentation.of(plan, self._task.snapshot.flip),
            (plan.seed, epoch, self._number),
            self._sampler(),
        )

    def _run_epoch(self, epoch: int, batches: Iterator[Any]) -> EpochEnded:
        from models.workers.exchange import time_exchange

        plan, schedule = self._task.plan, self._schedule
        self._reporter.start_phase(f"starting epoch {epoch}")
        if epoch == plan.epochs:
            preload.prefetch_libraries()
            self._tested = ThreadPoolExecutor(1).submit(self._load_tested)
        self._learner.freeze(epoch <= plan.freeze_epochs)
        self._exchange *= epoch != plan.freeze_epochs + 1  # from here on there are more gradients
        found = self._loop.run(epoch, batches)
        self._reporter.start_phase(f"validating epoch {epoch}")
        began = time.monotonic()
        loss, correct, pictures, waited = self._learner.sum_over_workers(found.sums)
        self._learner.sync_moments()
        validation_loss, validation_accuracy = self._validate()
        measuring = time.monotonic() - began + self._saving
        self._exchange = self._exchange or time_exchange(self._learner.strategy, self._learner.model)
        return EpochEnded(
            worker=self._number,
            epoch=epoch,
            loss=loss / pictures,
            accuracy=correct / pictures,
            validation_loss=validation_loss,
            validation_accuracy=validation_accuracy,
            learning_rate=self._learner.rates[epoch * schedule.steps - 1],
            seconds=found.seconds,
            images_per_second=pictures / found.seconds,
            input_wait_share=waited / plan.workers,
            exchange_share=min(1.0, self._exchange * schedule.steps / found.seconds),
            measuring_seconds=measuring,
        )

    def _validate(self) -> tuple[float | None, float | None]:
        """Mean loss and accuracy over the validation pictures of all workers; None where undefined.

        It uses the function that is exported at the end. So tracing happens in the first epoch, not after the
        last one.
        """
        self._learner.update_export_model()
        sums = sum_retrieval_metrics if self._task.plan.objective == "triplet" else sum_metrics
        local = sums(self._export.predict, self._validation, self._task.plan.side)
        loss, correct, pictures = self._learner.sum_over_workers(local)
        return (
            loss / pictures if np.isfinite(loss) and pictures else None,
            correct / pictures if pictures else None,
        )

    def _sampler(self) -> Sampler | None:
        """Sampler of triplet batches; None shuffles the rows."""
        plan, schedule = self._task.plan, self._schedule
        if plan.objective != "triplet":
            return None
        labels = self._pipeline.labels
        return partial(sample_label_groups, labels, schedule.steps, schedule.batch, plan.images_per_label)

    def _tensorboard(self) -> AbstractContextManager[Any]:
        """TensorBoard log writer on worker 0; None on the others."""
        if self._number:
            return nullcontext()
        return TensorBoardLogs(self._task.artifacts.subfolder("tensorboard"))

    def finish(self) -> None:
        """Evaluate on the test split; the first worker writes Keras and SavedModel, the last one TFLite."""
        plan = self._task.plan
        self._reporter.start_phase("testing")
        tested = self._tested.result() if self._tested else self._load_tested()
        if plan.objective == "triplet":
            self._send_embeddings({Split.VALIDATION: self._validation} | tested)
        else:
            found = predict_all(self._export.predict, tested[Split.TEST], plan.side, self._number)
            self._reporter.send(found)
        if self._number == 0:
            self._reporter.start_phase("writing the model")
            export.write(self._export, self._task.artifacts)
        if self._number == plan.workers - 1:  # with several workers, in parallel to worker 0
            self._reporter.start_phase("writing the TFLite models")
            pictures = export.calibration_pictures(self._task.snapshot, plan.side)
            export.write_tflite(self._export, self._task.artifacts, pictures)

    def _load_tested(self) -> dict[Split, ImageSource]:
        """This share of the test split, after that of the training pictures to compare embeddings with."""
        gallery = gallery_rows(self._task.snapshot) if self._task.plan.objective == "triplet" else {}
        tested: dict[Split, ImageSource] = {}
        if rows := gallery.get(Split.TRAIN):
            share = evaluation_rows(rows, self._number, self._task.plan.workers)
            tested[Split.TRAIN] = self._load_rows(Split.TRAIN, share)
        return tested | {Split.TEST: self._load_evaluation_rows(Split.TEST)}

    def _send_embeddings(self, tested: dict[Split, ImageSource]) -> None:
        for split, pictures in tested.items():
            embeddings = embed_all(self._export.predict, pictures, self._task.plan.side)
            self._reporter.send(pack_embeddings(self._number, split, embeddings))
