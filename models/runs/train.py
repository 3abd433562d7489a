"""A training run from plan to model: checks, cluster, artifacts, registry."""

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

from pyspark.sql import SparkSession

from conf.settings import Settings
from lake.errors import UnknownDataset
from lake.snapshot import MANIFEST, Snapshot
from lake.storage import Storage, is_name
from models.errors import TrainingFailed
from models.evaluation import artifacts
from models.evaluation.metrics import Evaluation
from models.messages import EpochEnded
from models.nets.verification import Verification
from models.plan import TrainingPlan
from models.registry import model_cards, model_rows
from models.runs import cluster, leakage, resumption
from models.runs.preflight import check_trainable
from models.runs.run_report import Judgement
from models.runs.run_state import RunState
from models.runs.training_run import TrainingRun
from models.workers import initial_weights


@dataclass(frozen=True)
class TrainedModel:
    """What came of a training run.

    Args:
        model_id: of the model.
        path: folder or URI of the artifacts.
        plan: what was asked.
        history: figures of every epoch.
        evaluation: of the test split.
        steps: of the whole run, on every worker.
        batch: pictures per worker and step.
        images_per_second: of all workers, epochs after the first.
        input_wait_share: share of the steps' time that waited for pictures, the same epochs.
        seconds: from the call to the result.
        seconds_to_first_step: from the call to the end of the first step; None if all had been made before.
        resumed_from: finished epochs that the last attempt started from; None if nothing went wrong.
        restarts: how often this command had to start the workers again.
        seconds_after_last_step: from the last step to the result.
        cpu_seconds: processor time of the workers' processes and of this one in the meantime, without JVMs.
        verification: of pairs of test pictures, for embeddings; `evaluation` then is of nearest neighbours.
    """

    model_id: str
    path: str
    plan: TrainingPlan
    history: tuple[EpochEnded, ...]
    evaluation: Evaluation
    steps: int
    batch: int
    images_per_second: float
    input_wait_share: float
    seconds: float
    seconds_to_first_step: float | None
    resumed_from: int | None
    cpu_seconds: float
    restarts: int = 0
    seconds_after_last_step: float | None = None
    verification: Verification | None = None

    @property
    def metrics(self) -> dict[str, float]:
        """The figures that the registry keeps."""
        last = self.history[-1]
        same = self.verification
        values = {
            **artifacts.figures(self.evaluation, self.plan.objective),
            "verification_accuracy": same.accuracy if same else None,
            "verification_threshold": same.threshold if same else None,
            "validation_accuracy": last.validation_accuracy,
            "train_accuracy": last.accuracy,
            "train_loss": last.loss,
            "images_per_second": self.images_per_second,
            "input_wait_share": self.input_wait_share,
            "seconds": self.seconds,
            "seconds_to_first_step": self.seconds_to_first_step,
            "cpu_seconds": self.cpu_seconds,
        }
        return {name: float(value) for name, value in values.items() if value is not None}


def load_snapshot(settings: Settings, dataset_id: str) -> Snapshot:
    """The snapshot of a dataset.

    Raises:
        UnknownDataset: there is none of this id; names those there are.
        DamagedSnapshot: it cannot be read.
    """
    storage = Storage(settings.lake.at("snapshots", dataset_id), settings.s3)
    if is_name(dataset_id) and storage.exists(MANIFEST):
        return Snapshot.load(storage)
    names = Storage(settings.lake.at("snapshots"), settings.s3).names()
    known = sorted(name.removesuffix(f"/{MANIFEST}") for name in names if name.endswith(f"/{MANIFEST}"))
    there = f"there are {', '.join(known[-5:])}" if known else "there is none yet, `hub organize` makes one"
    raise UnknownDataset(f"no dataset {dataset_id!r}: {there}")


def planned(settings: Settings, dataset_id: str, workers: int, **given: Any) -> TrainingPlan:
    """A plan with the settings' defaults; what starts from a model (`source`) has its architecture.

    Raises:
        UnknownModel, UnfitStart: `source` names nothing that can be started from.
    """
    if given.get("source") and not given.get("architecture"):
        given["architecture"] = initial_weights.architecture_of(settings, given["source"])
    return TrainingPlan.of(settings, dataset_id, workers, **given)


def train(
    settings: Settings, plan: TrainingPlan, spark: SparkSession | None = None, bar: bool = True
) -> TrainedModel:
    """Train a model and put it into the registry; a run of the same plan that was cut off is gone on with.

    Args:
        settings: of the hub.
        plan: what to train.
        spark: a session on a cluster with an executor for every worker; made and stopped here if None.
        bar: show a progress bar on standard error, or lines where that is a log.

    Raises:
        UnknownDataset, UsageError, NotTrainable, UnfitStart, ForeignCheckpoint, StorageError: before any
            cluster time is spent.
        ClusterTooSmall: there are fewer executors, or cores of this machine, than workers.
        TrainingFailed: with the first cause.
    """
    began = time.monotonic()
    snapshot = load_snapshot(settings, plan.dataset_id)
    check_trainable(plan, snapshot)
    if spark is None:
        cluster.refuse_too_many(settings, plan.workers)
    seen = leakage.count_leaked(settings, plan, snapshot)
    plan, start = initial_weights.resolved(settings, plan, snapshot.labels)
    with resumption.run_locked(settings, plan, snapshot, start) as claim:
        course = TrainingRun(settings, plan, snapshot, claim, bar)
        course.prepare(start)
        with course.session(spark) as session:
            record, judgement = course.followed(session)
        with course.failure_recorded():
            storage = course.storage
            trained = _trained(record, judgement, plan, claim.model_id, storage.root, began)
            _write(settings, storage, snapshot, trained, seen)
            model_rows.end(settings, claim.model_id, trained.metrics)
            claim.close()
    now = time.monotonic()
    after = now - record.last_step if record.last_step else None
    return replace(trained, seconds=now - began, seconds_after_last_step=after)


def _trained(
    record: RunState, judgement: Judgement, plan: TrainingPlan, model_id: str, path: str, began: float
) -> TrainedModel:
    history = tuple(record.epochs[epoch] for epoch in sorted(record.epochs))
    if not history:
        raise TrainingFailed(f"the workers of {model_id} ended without an epoch")
    warm = history[1:] or history
    warm_seconds = sum(row.seconds for row in warm)
    return TrainedModel(
        model_id=model_id,
        path=path,
        plan=plan,
        history=history,
        evaluation=judgement.evaluation,
        steps=record.steps * plan.epochs,
        batch=record.batch,
        images_per_second=sum(row.images_per_second * row.seconds for row in warm) / warm_seconds,
        input_wait_share=sum(row.input_wait_share * row.seconds for row in warm) / warm_seconds,
        seconds=time.monotonic() - began,
        seconds_to_first_step=record.first_step - began if record.first_step else None,
        resumed_from=record.resumed_from if record.restarts or record.resumed_from else None,
        restarts=record.restarts,
        cpu_seconds=record.cpu_seconds,
        verification=judgement.verification,
    )


def _write(
    settings: Settings, storage: Storage, snapshot: Snapshot, trained: TrainedModel, seen: int
) -> None:
    plan = trained.plan
    manifest = {"manifest_sha256": snapshot.sha256(), "plan": asdict(plan), "steps": trained.steps}
    told = {"overlap": seen} if seen else {}  # pictures it is measured on that its start was trained on
    storage.write_json(artifacts.METRICS, trained.metrics | manifest | told)
    model_cards.finish(settings, trained.model_id, trained.seconds, trained.evaluation.accuracy)
