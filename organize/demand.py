"""`hub train --labels`: get or create the dataset of some labels, and reuse an equal model."""

from collections.abc import Sequence
from dataclasses import MISSING, asdict, fields
from pathlib import Path

from conf.settings import Settings
from lake.spark import session
from models.plan import TrainingPlan
from models.registry import model_cards
from models.registry.model_cards import ModelCard
from organize.datasets import dataset
from organize.datasets.dataset import OrganizedDataset
from organize.follow.catching_up import catch_up

# Ignored when plans are compared: how a run is executed, which does not change the model's quality.
_EXECUTION_FIELDS = ("workers", "cache_mb", "jit", "deterministic")


def get_or_create_dataset(settings: Settings, labels: Sequence[str]) -> OrganizedDataset:
    """The dataset of these labels for the current samples: the existing one, or a new one.

    Raises:
        NothingToOrganize: a label is unknown or has too few images.
        StorageError: the lake cannot be written.
    """
    spark = session.start(settings, "train")
    try:
        catch_up(spark, settings)
        return dataset.organize(spark, settings, labels)
    finally:
        session.stop(spark)


def find_model(settings: Settings, plan: TrainingPlan) -> ModelCard | None:
    """The newest ready model of the same dataset, architecture and settings; None if there is none.

    A plan that starts from a file matches no model, because the file's content may have changed.
    """
    if plan.weights or (plan.source and Path(plan.source).is_file()):
        return None
    return next((card for card in model_cards.ready_cards(settings) if matches_plan(card, plan)), None)


def matches_plan(card: ModelCard, plan: TrainingPlan) -> bool:
    """Whether a model was trained with this plan, on any number of workers."""
    wanted = asdict(plan)
    if not plan.pixels:
        wanted.pop("pixels")  # the initial weights decide it
    # A card that an earlier hub wrote lacks newer fields; their defaults are what it did.
    defaults = {field.name: field.default for field in fields(plan) if field.default is not MISSING}
    found = defaults | {"side": card.side} | card.plan
    return bool(card.plan) and all(
        found.get(name) == value for name, value in wanted.items() if name not in _EXECUTION_FIELDS
    )
