"""What is refused before any cluster time is spent. No TensorFlow."""

import math

import numpy as np

from conf.errors import UsageError
from conf.sections import LAST_SEED
from lake.snapshot import Snapshot, Split
from models.errors import NotTrainable
from models.pictures.inputs import equal_share, label_column
from models.pictures.sampling import LEAST, eligible
from models.plan import OBJECTIVES, SIDES, TrainingPlan

NAMED = 5  # labels that an error names


def check_trainable(plan: TrainingPlan, snapshot: Snapshot) -> None:
    """Refuse what cannot be trained, before any cluster time is spent.

    Raises:
        UsageError: a value of the plan is not allowed.
        NotTrainable: the dataset is too small for it.
    """
    for name in ("workers", "epochs", "batch_size"):
        if getattr(plan, name) < 1:
            raise UsageError(f"--{name.replace('_', '-')} {getattr(plan, name)}: must be 1 or more")
    if plan.architecture not in SIDES:
        raise UsageError(f"--arch {plan.architecture}: must be one of {', '.join(SIDES)}")
    if not (math.isfinite(plan.learning_rate) and plan.learning_rate > 0):
        raise UsageError(f"--learning-rate {plan.learning_rate}: must be a number above 0")
    if not 0 <= plan.seed <= LAST_SEED:
        raise UsageError(f"--seed {plan.seed}: must be between 0 and {LAST_SEED}")
    _check_start(plan)
    _check_objective(plan)
    if len(snapshot.labels) < 2:
        raise NotTrainable(
            f"dataset {plan.dataset_id} has {len(snapshot.labels)} label ({', '.join(snapshot.labels)}); "
            "a model needs two or more to tell apart: organize with more --labels"
        )
    rows = snapshot.rows(Split.TRAIN)
    if rows < plan.workers:
        raise NotTrainable(
            f"--workers {plan.workers} is more than the {rows} training pictures of dataset {plan.dataset_id}"
        )
    if not snapshot.rows(Split.VALIDATION):
        raise NotTrainable(
            f"dataset {plan.dataset_id} has no validation pictures: organize with more pictures "
            "or a larger share of them (organize.fractions)"
        )
    _check_labels(plan, snapshot)


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
    least = LEAST * plan.group
    if plan.batch_size < least:
        raise UsageError(
            f"--batch-size {plan.batch_size}: for --objective triplet it must be {least} or more: "
            f"{LEAST} labels of train.images_per_label = {plan.group} pictures"
        )


def _check_labels(plan: TrainingPlan, snapshot: Snapshot) -> None:
    """Every label has training pictures and, for triplets, every worker has pairs of two labels."""
    labels = label_column(snapshot, Split.TRAIN)
    counts = np.bincount(labels, minlength=len(snapshot.labels))
    if len(counts) > len(snapshot.labels):
        raise NotTrainable(
            f"dataset {plan.dataset_id} has pictures of label number {len(counts) - 1}, but its manifest "
            f"names {len(snapshot.labels)} labels: organize it anew"
        )
    missing = [name for name, count in zip(snapshot.labels, counts, strict=False) if not count]
    if missing:
        raise NotTrainable(
            f"dataset {plan.dataset_id} has no training pictures of {', '.join(missing[:NAMED])}"
            f"{f' and {len(missing) - NAMED} more labels' if len(missing) > NAMED else ''}: "
            "organize with more of them, or without these labels"
        )
    if plan.objective != "triplet":
        return
    for worker in range(plan.workers):
        share = equal_share(len(labels), worker, plan.workers)
        if len(share) < LEAST * plan.group or len(eligible(labels[share.start : share.stop])) < LEAST:
            raise NotTrainable(
                f"--workers {plan.workers} leaves worker {worker} {len(share)} pictures, too few for "
                f"triplets of {LEAST} labels with {plan.group} pictures each: ask for fewer workers"
            )


def _check_start(plan: TrainingPlan) -> None:
    if plan.source and plan.weights:
        raise UsageError("--from and --weights exclude each other: a run starts from one of them")
    if not 0 <= plan.freeze_epochs <= plan.epochs:
        raise UsageError(
            f"--freeze-epochs {plan.freeze_epochs}: must be between 0 and the {plan.epochs} epochs of the run"
        )
    if plan.freeze_epochs and not (plan.source or plan.weights):
        raise UsageError(
            f"--freeze-epochs {plan.freeze_epochs} needs --from or --weights: "
            "what has learned nothing cannot be frozen"
        )
