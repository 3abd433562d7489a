"""Train a model from plan to registry: checks, cluster, artifacts, metrics."""

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

from pyspark.sql import SparkSession

from conf.settings import Settings
from lake.errors import UnknownDataset
from lake.snapshot import MANIFEST, DatasetSnapshot
from lake.storage import Storage, is_plain_name
from models.errors import TrainingFailed
from models.evaluation import artifacts
from models.evaluation.metrics import Evaluation
from models.formats import published_weights
from models.messages import EpochEnded
from models.nets import schedule
from models.nets.verification import Verification
from models.plan import TrainingPlan
from models.registry import model_cards, model_rows
from models.runs import executors, leakage, resumption
from models.runs.preflight import check_one_start, check_trainable
from models.runs.run_report import ModelQuality
from models.runs.run_state import RunState
from models.runs.time_shares import TimeShares
from models.runs.training_run import TrainingRun
from models.workers import initial_weights


@dataclass(frozen=True)
class TrainedModel:
    """Result of a training run.

    Args:
        model_id: id of the model.
        path: folder or URI of the artifacts.
        plan: its settings.
        history: metrics of every epoch.
        evaluation: on the test split; of nearest neighbours for embeddings.
        steps: steps of all epochs, on each worker.
        batch: pictures per worker and step.
        images_per_second: sum over all workers, mean over the epochs after the first.
        input_wait_share: share of the steps' time that waited for input, over the same epochs.
        time_shares: where the time of the same epochs went.
        seconds: from the call to the result.
        seconds_to_first_step: from the call to the end of the first step; None if no step was left to do.
        resumed_from: finished epochs that the last attempt started from; None for an undisturbed new run.
        cpu_seconds: CPU time of the workers' processes and, meanwhile, of this one; without JVMs.
        restarts: how often this command restarted the workers.
        seconds_after_last_step: from the last step to the result.
        verification: of pairs of test pictures, for embeddings only.
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
    time_shares: TimeShares
    seconds: float
    seconds_to_first_step: float | None
    resumed_from: int | None
    cpu_seconds: float
    restarts: int = 0
    seconds_after_last_step: float | None = None
    verification: Verification | None = None

    @property
    def peak_rate(self) -> float:
        """The highest learning rate, scaled with the batch of all workers."""
        return schedule.peak(self.plan.learning_rate, self.batch * self.plan.workers)

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics that the registry keeps."""
        last = self.history[-1]
        verification = self.verification
        values = {
            **artifacts.summary_metrics(self.evaluation, self.plan.objective),
            "verification_accuracy": verification.accuracy if verification else None,
            "verification_threshold": verification.threshold if verification else None,
            "validation_accuracy": last.validation_accuracy,
            "train_accuracy": last.accuracy,
            "train_loss": last.loss,
            "batch_size": self.batch,  # the plan may leave it to the workers
            "images_per_second": self.images_per_second,
            "input_wait_share": self.input_wait_share,
            **self.time_shares.as_metrics,
            "seconds": self.seconds,
            "seconds_to_first_step": self.seconds_to_first_step,
            "cpu_seconds": self.cpu_seconds,
        }
        return {name: float(value) for name, value in values.items() if value is not None}


def load_snapshot(settings: Settings, dataset_id: str) -> DatasetSnapshot:
    """Load a dataset snapshot.

    Raises:
        UnknownDataset: no dataset has this id; the message names some that exist.
        DamagedSnapshot: it cannot be read.
    """
    storage = Storage(settings.lake.at("snapshots", dataset_id), settings.s3)
    if is_plain_name(dataset_id) and storage.exists(MANIFEST):
        return DatasetSnapshot.load(storage)
    names = Storage(settings.lake.at("snapshots"), settings.s3).list_files()
    known = sorted(name.removesuffix(f"/{MANIFEST}") for name in names if name.endswith(f"/{MANIFEST}"))
    hint = f"there are {', '.join(known[-5:])}" if known else "there is none yet, `hub organize` makes one"
    raise UnknownDataset(f"no dataset {dataset_id!r}: {hint}")


def make_plan(settings: Settings, dataset_id: str, workers: int, **overrides: Any) -> TrainingPlan:
    """Build a plan from the settings and `overrides`; with a `source` its architecture and side are defaults.

    The override `pretrained` is a bool: start from the architecture's published weights.

    Raises:
        UsageError: `source`, `weights` and `pretrained` exclude each other.
        UnusableWeights: no package has published weights of the architecture.
        UnknownModel, UnusableInitialWeights: `source` names no model that can be used.
    """
    check_one_start(*(overrides.get(name) for name in ("source", "weights", "pretrained")))
    if source := overrides.get("source"):
        overrides["architecture"] = overrides.get("architecture") or initial_weights.architecture_of(
            settings, source
        )
        if overrides.get("side") is None:
            overrides["side"] = initial_weights.side_of(settings, source)
    if overrides.pop("pretrained", False):
        architecture = overrides.get("architecture") or settings.train.arch
        overrides["pretrained"] = published_weights.wheel_of(architecture).requirement
    return TrainingPlan.of(settings, dataset_id, workers, **overrides)


def train(
    settings: Settings, plan: TrainingPlan, spark: SparkSession | None = None, bar: bool = True
) -> TrainedModel:
    """Train a model and register it; resume an interrupted run of the same plan.

    Args:
        settings: of the hub.
        plan: what to train.
        spark: a session on a cluster with an executor for every worker; created and stopped here if None.
        bar: show a progress bar on standard error, or lines where that is a log.

    Raises:
        UnknownDataset, UsageError, NotTrainable, UnusableInitialWeights, CheckpointMismatch, StorageError:
            before any cluster time is spent.
        ClusterTooSmall: there are fewer executors, or cores of this machine, than workers.
        TrainingFailed: with the first cause.
    """
    began = time.monotonic()
    snapshot = load_snapshot(settings, plan.dataset_id)
    check_trainable(plan, snapshot)
    if spark is None:
        executors.check_cores(settings, plan.workers)
    leaked = leakage.count_leaked(settings, plan, snapshot)
    plan, start = initial_weights.resolve(settings, plan, snapshot.labels)
    with resumption.run_locked(settings, plan, snapshot, start) as lock:
        run = TrainingRun(settings, plan, snapshot, lock, bar)
        run.prepare(start)
        with run.session(spark) as session:
            state, quality = run.run_workers(session)
        with run.record_failure():
            lock.raise_if_lost()
            storage = run.storage
            trained = _trained_model(state, quality, plan, lock.model_id, storage.root, began)
            _write_metrics(settings, storage, snapshot, trained, leaked)
            model_rows.record_result(settings, lock.model_id, trained.metrics)
            lock.delete_entry()
    now = time.monotonic()
    after = now - state.last_step if state.last_step else None
    return replace(trained, seconds=now - began, seconds_after_last_step=after)


def _trained_model(
    state: RunState, quality: ModelQuality, plan: TrainingPlan, model_id: str, path: str, began: float
) -> TrainedModel:
    history = tuple(state.epochs[epoch] for epoch in sorted(state.epochs))
    if not history:
        raise TrainingFailed(f"the workers of {model_id} ended without finishing an epoch")
    warm = history[1:] or history  # the first epoch includes tracing
    warm_seconds = sum(row.seconds for row in warm)
    return TrainedModel(
        model_id=model_id,
        path=path,
        plan=plan,
        history=history,
        evaluation=quality.evaluation,
        steps=state.steps * plan.epochs,
        batch=state.batch,
        images_per_second=sum(row.images_per_second * row.seconds for row in warm) / warm_seconds,
        time_shares=TimeShares.of(warm),
        input_wait_share=sum(row.input_wait_share * row.seconds for row in warm) / warm_seconds,
        seconds=time.monotonic() - began,
        seconds_to_first_step=state.first_step - began if state.first_step else None,
        resumed_from=state.resumed_from if state.restarts or state.resumed_from else None,
        restarts=state.restarts,
        cpu_seconds=state.cpu_seconds,
        verification=quality.verification,
    )


def _write_metrics(
    settings: Settings, storage: Storage, snapshot: DatasetSnapshot, trained: TrainedModel, leaked: int
) -> None:
    plan = trained.plan
    manifest = {"manifest_sha256": snapshot.sha256(), "plan": asdict(plan), "steps": trained.steps}
    leakage_count = {"overlap": leaked} if leaked else {}  # evaluation pictures that `source` was trained on
    storage.write_json(artifacts.METRICS, trained.metrics | manifest | leakage_count)
    model_cards.mark_ready(settings, trained.model_id, trained.seconds, trained.evaluation.accuracy)
