"""Folds that are trained side by side: how many at a time, and what their errors say."""

import os
from pathlib import Path

import pytest

from conf.sections import Lake
from conf.settings import Settings
from lake.errors import UnknownDataset
from models.plan import TrainingPlan
from organize import fold_training


def _with(settings: Settings, parallel: int, master: str = "") -> Settings:
    checks = settings.checks.model_copy(update={"deep_parallel": parallel})
    spark = settings.spark.model_copy(update={"train_master": master, "train_cores": 64, "train_gpus": 0})
    return settings.model_copy(update={"checks": checks, "spark": spark})


def test_on_this_machine_no_more_folds_are_trained_at_a_time_than_it_has_cores(settings: Settings) -> None:
    cores = len(os.sched_getaffinity(0))
    assert fold_training.at_a_time(_with(settings, 1), 5) == 1
    assert fold_training.at_a_time(_with(settings, 10_000), 10_000) == cores
    assert fold_training.at_a_time(_with(settings, 4, "spark://host:7077"), 5) == 4
    assert fold_training.at_a_time(_with(settings, 4, "spark://host:7077"), 3) == 3


def test_folds_that_would_share_a_gpu_follow_each_other(settings: Settings) -> None:
    own = _with(settings, 4)
    spark = own.spark.model_copy(update={"train_gpus": 1})
    assert fold_training.at_a_time(own.model_copy(update={"spark": spark}), 5) == 1


@pytest.mark.services
def test_the_error_of_a_fold_is_raised_and_the_other_folds_end(settings: Settings, tmp_path: Path) -> None:
    own = _with(settings, 2).model_copy(update={"lake": Lake(root=str(tmp_path / "lake"))})
    plans = {fold: TrainingPlan.of(own, f"no-such-{fold}", fold_training.WORKERS) for fold in range(2)}
    trained: list[int] = []
    with pytest.raises(UnknownDataset, match="no dataset 'no-such-"):
        fold_training.train_folds(own, plans, lambda fold, model_id: trained.append(fold))
    assert trained == []
