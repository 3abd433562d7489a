"""`hub train --labels`: the dataset is created if needed, and an equal model is reused."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conf.sections import Lake
from conf.settings import Settings
from lake import tables
from lake.table import Table
from models.evaluation import artifacts
from models.plan import TrainingPlan
from models.registry import model_cards
from models.registry.model_cards import State
from organize import demand
from organize.datasets.dataset import organize
from tests.support import colours, pictures
from tests.support.commands import Hub

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

EXISTING = "resnet20-20261121-0800-dddd"


def write_model(settings: Settings, plan: TrainingPlan, model_id: str = EXISTING, **card: Any) -> None:
    """Write a ready model of a plan as a run does, which decides what the plan left open."""
    decided = asdict(replace(plan, pixels="unit"))
    of = {"dataset_id": plan.dataset_id, "workers": 2, "accuracy": 0.9}
    colours.model(settings, model_id, plan=decided, **(of | card))
    files = model_cards.artifact_storage(settings, model_id)
    artifacts.write_run(files, list(colours.COLOURS), [])
    files.write_json(artifacts.METRICS, {"steps": 12, "seconds": 30.0, "images_per_second": 800.0})


@pytest.fixture
def own(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"lake": Lake(root=str(tmp_path / "lake"))})


def test_a_model_is_found_by_its_dataset_architecture_and_settings(own: Settings, tmp_path: Path) -> None:
    plan = TrainingPlan.of(own, "ds-1", 2, epochs=3)
    assert demand.find_model(own, plan) is None
    write_model(own, plan)
    found = demand.find_model(own, plan)
    assert found and found.model_id == EXISTING
    assert (
        demand.find_model(own, replace(plan, workers=4, cache_mb=1)) == found
    )  # execution settings are ignored
    for other in (
        {"dataset_id": "ds-2"},
        {"architecture": "resnet32"},
        {"epochs": 4},
        {"seed": 8},
        {"pixels": "caffe"},
        {"source": "another-model"},
        {"weights": "w.h5"},
    ):
        assert demand.find_model(own, replace(plan, **other)) is None, other
    model_cards.set_state(own, EXISTING, State.RETIRED)
    assert demand.find_model(own, plan) is None


def test_the_newest_of_several_is_taken(own: Settings) -> None:
    plan = TrainingPlan.of(own, "ds-1", 2)
    write_model(own, plan, created="2026-11-20T08:00:00+00:00")
    write_model(own, plan, "resnet20-20261121-0900-eeee", created="2026-11-21T09:00:00+00:00")
    found = demand.find_model(own, plan)
    assert found and found.model_id == "resnet20-20261121-0900-eeee"


@pytest.mark.faults  # it takes 40 s
@pytest.mark.services
def test_labels_reuse_their_dataset_and_an_existing_model(
    own: Settings, spark: "SparkSession", hub: Hub
) -> None:
    tables.create(spark, own.lake)
    rows = [
        (f"{n:064x}", f"u{n}", ("cat", "dog", "owl")[n % 3], n * 2**40, pictures.jpeg(40, 40, n))
        for n in range(90)
    ]
    frame = spark.createDataFrame(
        rows, "image_id string, upload_id string, label string, phash long, jpeg binary"
    )
    uploads = frame.selectExpr("*", "'accepted' AS verdict", "CAST(array() AS array<string>) AS flags")
    uploads.write.format("delta").mode("append").save(own.lake.at(Table.UPLOADS))
    samples = uploads.select("image_id", "upload_id", "label", "phash", "flags")
    samples.write.format("delta").mode("append").save(own.lake.at(Table.SAMPLES))
    dataset = organize(spark, own, ["cat", "dog"])
    write_model(own, TrainingPlan.of(own, dataset.dataset_id, 2, epochs=3))
    done = hub("train", "--labels", "dog, cat", "--epochs", "3", "--json", HUB__LAKE__ROOT=own.lake.root)
    assert done.status == 0, done.stderr
    results = json.loads(done.stdout)
    assert (results["dataset_id"], results["model_id"], results["reused"]) == (
        dataset.dataset_id,
        EXISTING,
        True,
    )
    assert results["steps"] == 12 and results["test_accuracy"] == 0.9
    unknown = hub("train", "--labels", "cat,yak", HUB__LAKE__ROOT=own.lake.root)
    assert unknown.status == 1 and "no images of label 'yak'" in unknown.stderr


def test_labels_and_dataset_exclude_each_other(hub: Hub) -> None:
    for arguments in (["--labels", "cat", "--dataset", "ds-1"], ["--labels", " , "], []):
        done = hub("train", *arguments)
        assert done.status == 2 and done.stderr.count("\n") == 1, arguments
        assert "--labels" in done.stderr
