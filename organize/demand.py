"""Models on demand: for labels, from a dataset that is made if none fits, and not trained twice."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from conf.settings import Settings
from lake.spark import session
from models.plan import TrainingPlan
from models.registry import model_cards
from models.registry.model_cards import ModelCard
from organize import dataset
from organize.dataset import Organized

# Where a run is done, not what comes of it; a model of so many workers is as good as one of others.
_ELSEWHERE = ("workers", "cache_mb")


def dataset_of(settings: Settings, labels: Sequence[str]) -> Organized:
    """The dataset of some labels as the samples are now: the one that is there, or a new one.

    Raises:
        NothingToOrganize: a label is unknown or has too few images.
        StorageError: the lake cannot be written.
    """
    spark = session.start(settings, "train")
    try:
        return dataset.organize(spark, settings, labels)
    finally:
        spark.stop()


def existing(settings: Settings, plan: TrainingPlan) -> ModelCard | None:
    """The newest ready model of the same dataset, architecture and settings; None if there is none.

    A run that starts from a file is never the same: another file may have its name.
    """
    if plan.weights or (plan.source and Path(plan.source).is_file()):
        return None
    return next((card for card in model_cards.ready(settings) if is_of(card, plan)), None)


def is_of(card: ModelCard, plan: TrainingPlan) -> bool:
    """Whether a model came of these settings, on however many workers."""
    wanted = asdict(plan)
    if not plan.pixels:
        wanted.pop("pixels")  # what a run starts from decides it
    return bool(card.plan) and all(
        card.plan.get(name) == value for name, value in wanted.items() if name not in _ELSEWHERE
    )
