"""What is refused before any cluster time is spent. No TensorFlow."""

from conf.errors import UsageError
from lake.snapshot import Snapshot, Split
from models.errors import NotTrainable
from models.plan import SIDES, TrainingPlan


def check(plan: TrainingPlan, snapshot: Snapshot) -> None:
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
    if plan.learning_rate <= 0:
        raise UsageError(f"--learning-rate {plan.learning_rate}: must be above 0")
    _check_start(plan)
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
