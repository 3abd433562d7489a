"""Checks of plan and dataset before any cluster time is spent. No TensorFlow."""

import math

import numpy as np

from conf.errors import UsageError
from conf.value_types import LAST_SEED
from lake.snapshot import DatasetSnapshot, Split
from models.architectures import ARCHITECTURES
from models.errors import NotTrainable
from models.pictures.inputs import read_labels, training_rows
from models.pictures.sampling import MIN_COUNT, labels_with_pairs
from models.plan import OBJECTIVES, TrainingPlan

MAX_LABELS_IN_ERROR = 5


def check_trainable(plan: TrainingPlan, snapshot: DatasetSnapshot) -> None:
    """Check that a plan can be trained on a dataset snapshot.

    Raises:
        UsageError: a value of the plan is not allowed.
        NotTrainable: the dataset is too small for the plan, or damaged.
    """
    _check_execution(plan)
    if plan.architecture not in ARCHITECTURES:
        raise UsageError(f"--arch {plan.architecture}: must be one of {', '.join(ARCHITECTURES)}")
    _check_side(plan)
    if not (math.isfinite(plan.learning_rate) and plan.learning_rate > 0):
        raise UsageError(f"--learning-rate {plan.learning_rate}: must be a number above 0")
    if not 0 <= plan.seed <= LAST_SEED:
        raise UsageError(f"--seed {plan.seed}: must be between 0 and {LAST_SEED}")
    _check_initial_weights(plan)
    _check_objective(plan)
    if snapshot.split_by_label and plan.objective != "triplet":
        raise NotTrainable(
            f"dataset {plan.dataset_id} is split by label: no label of its test pictures is trained, so only "
            "--objective triplet can be tested on it; organize with --split-by group"
        )
    if len(snapshot.labels) < 2:
        raise NotTrainable(
            f"dataset {plan.dataset_id} has {len(snapshot.labels)} label ({', '.join(snapshot.labels)}); "
            "a model needs two or more: organize with more --labels"
        )
    rows = snapshot.row_count(Split.TRAIN)
    if rows < plan.workers:
        raise NotTrainable(
            f"--workers {plan.workers} is more than the {rows} training pictures of dataset {plan.dataset_id}"
        )
    if not snapshot.row_count(Split.VALIDATION):
        raise NotTrainable(
            f"dataset {plan.dataset_id} has no validation pictures: organize with more pictures "
            "or a larger share of them (organize.fractions)"
        )
    _check_labels(plan, snapshot)


def _check_execution(plan: TrainingPlan) -> None:
    for name in ("workers", "epochs", "batch_size"):
        value = getattr(plan, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} {value}: must be 1 or more")
    if plan.deterministic and plan.jit == "on":
        raise UsageError(
            "train.jit = on does not go with train.deterministic: XLA has no deterministic gradient of max "
            "pooling; set train.jit to auto"
        )


def _check_side(plan: TrainingPlan) -> None:
    sides = sorted(ARCHITECTURES[plan.architecture].sides)
    if plan.side not in sides:
        *others, last = map(str, sides)
        listed = f"{', '.join(others)} or {last}" if others else last
        raise UsageError(f"--side {plan.side}: {plan.architecture} takes pictures of {listed} px")


def _check_objective(plan: TrainingPlan) -> None:
    if plan.objective not in OBJECTIVES:
        raise UsageError(f"--objective {plan.objective}: must be one of {', '.join(OBJECTIVES)}")
    if plan.objective != "triplet":
        return
    for name in ("mixup", "label_smoothing"):
        if getattr(plan, name):
            raise UsageError(
                f"train.{name} = {getattr(plan, name)} has no meaning with --objective triplet: set it to 0"
            )
    least = MIN_COUNT * plan.batch_multiple
    if plan.batch_size is not None and plan.batch_size < least:
        raise UsageError(
            f"--batch-size {plan.batch_size}: for --objective triplet it must be {least} or more: "
            f"{MIN_COUNT} labels of train.images_per_label = {plan.batch_multiple} pictures"
        )


def _check_labels(plan: TrainingPlan, snapshot: DatasetSnapshot) -> None:
    """Check that each label has training pictures and, for triplets, that each worker can sample batches.

    In a dataset that is split by label, only the labels of the training split have training pictures.
    """
    labels = read_labels(snapshot, Split.TRAIN)
    counts = np.bincount(labels, minlength=len(snapshot.labels))
    if len(counts) > len(snapshot.labels):
        raise NotTrainable(
            f"dataset {plan.dataset_id} has pictures of label number {len(counts) - 1}, but its manifest "
            f"names {len(snapshot.labels)} labels: organize it again"
        )
    missing = [name for name, count in zip(snapshot.labels, counts, strict=False) if not count]
    if missing and not snapshot.split_by_label:
        named, others = missing[:MAX_LABELS_IN_ERROR], len(missing) - MAX_LABELS_IN_ERROR
        raise NotTrainable(
            f"dataset {plan.dataset_id} has no training pictures of {', '.join(named)}"
            f"{f' and {others} more labels' if others > 0 else ''}: "
            "organize with more of them, or without these labels"
        )
    if plan.objective != "triplet":
        return
    for worker in range(plan.workers):
        share = training_rows(len(labels), worker, plan.workers)
        paired = labels_with_pairs(labels[share.start : share.stop])
        if len(share) < MIN_COUNT * plan.batch_multiple or len(paired) < MIN_COUNT:
            raise NotTrainable(
                f"--workers {plan.workers} leaves worker {worker} {len(share)} pictures, too few for "
                f"triplets of {MIN_COUNT} labels with {plan.batch_multiple} pictures each: "
                "ask for fewer workers"
            )


def check_one_start(source: object, weights: object, pretrained: object) -> None:
    """Check that a run starts from one thing at most.

    Raises:
        UsageError: from two or more.
    """
    given = {"--from": source, "--weights": weights, "--pretrained": pretrained}
    named = [flag for flag, value in given.items() if value]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)} exclude each other: a run starts from one of them")


def _check_initial_weights(plan: TrainingPlan) -> None:
    check_one_start(plan.source, plan.weights, plan.pretrained)
    if not 0 <= plan.freeze_epochs <= plan.epochs:
        raise UsageError(
            f"--freeze-epochs {plan.freeze_epochs}: must be between 0 and the {plan.epochs} epochs of the run"
        )
    if plan.freeze_epochs and not plan.has_initial_weights:
        raise UsageError(
            f"--freeze-epochs {plan.freeze_epochs} needs --pretrained, --from or --weights: "
            "randomly initialised weights cannot be frozen"
        )
    if plan.normalization == "frozen" and not plan.has_initial_weights:
        raise UsageError(
            "train.normalization = frozen needs --pretrained, --from or --weights: "
            "new weights have no statistics that could stay"
        )
    published = ARCHITECTURES[plan.architecture].published
    if plan.pretrained and plan.pixels not in ("", published):
        raise UsageError(
            f"train.pixels = {plan.pixels} does not fit the published weights of {plan.architecture}, "
            f"which need {published}: leave it auto"
        )
