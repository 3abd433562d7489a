"""Datasets that are split by label: test labels that training has never seen."""

import hashlib
import json
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from conf.choices import SplitBy
from conf.sections import Lake
from conf.settings import Settings
from lake import tables
from lake.snapshot import DatasetSnapshot, Split
from lake.table import Table
from organize.datasets.dataset import organize
from tests.support import pictures
from tests.support.commands import Hub

pytestmark = pytest.mark.services

PEOPLE = tuple(f"person-{n}" for n in range(8))
_EACH = 12


@pytest.fixture(scope="module")
def own(settings: Settings, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Eight people with twelve pictures each; the first pictures of all people are near duplicates."""
    lake = Lake(root=str(tmp_path_factory.mktemp("people") / "lake"))
    plan = settings.organize.model_copy(update={"split_by": SplitBy.LABEL})
    labels = settings.labels.model_copy(update={"ready_images": 1})
    own = settings.model_copy(update={"lake": lake, "organize": plan, "labels": labels})
    tables.create(spark, lake)
    rows = []
    for number in range(len(PEOPLE) * _EACH):
        person, picture = divmod(number, _EACH)
        spread = hashlib.sha256(f"{number if picture else 'twin'}".encode()).digest()[:8]
        phash = int.from_bytes(spread, "big", signed=True)
        content = pictures.jpeg(40, 40, number if picture else 0)
        rows.append((f"{number:064x}", f"u{number}", PEOPLE[person], phash, content))
    frame = spark.createDataFrame(
        rows, "image_id string, upload_id string, label string, phash long, jpeg binary"
    )
    uploads = frame.selectExpr("*", "'accepted' AS verdict", "CAST(array() AS array<string>) AS flags")
    uploads.write.format("delta").mode("append").save(own.lake.at(Table.UPLOADS))
    samples = uploads.select("image_id", "upload_id", "label", "phash", "flags")
    samples.write.format("delta").mode("append").save(own.lake.at(Table.SAMPLES))
    return own


def people_of(snapshot: DatasetSnapshot, split: Split) -> dict[str, int]:
    """Label to number of pictures in a split."""
    counts: dict[str, int] = {}
    for batch in snapshot.batches(split, 0, snapshot.row_count(split)):
        for label in batch["label"].to_pylist():
            counts[snapshot.labels[label]] = counts.get(snapshot.labels[label], 0) + 1
    return counts


def test_all_pictures_of_a_label_are_in_one_split(spark: SparkSession, own: Settings) -> None:
    organized = organize(spark, own)
    splits = [people_of(organized.snapshot, split) for split in Split]
    assert [len(people) for people in splits] == [4, 2, 2]
    assert set().union(*splits) == set(PEOPLE) and sum(map(len, splits)) == len(PEOPLE)
    # The twins stay in training only.
    assert set(splits[0].values()) == {_EACH} and set((splits[1] | splits[2]).values()) == {_EACH - 1}
    assert organized.left_out == {"near_duplicate_in_another_split": 4}
    assert DatasetSnapshot.load(organized.snapshot.storage).filter["split_by"] == "label"
    row = tables.read(spark, own.lake, Table.DATASETS).where(f"dataset_id = '{organized.dataset_id}'").head()
    assert row is not None and json.loads(row.filter)["split_by"] == "label"


def test_a_dataset_that_is_split_by_group_has_the_manifest_of_older_hubs(
    spark: SparkSession, own: Settings
) -> None:
    plan = own.organize.model_copy(update={"split_by": SplitBy.GROUP})
    by_group = organize(spark, own.model_copy(update={"organize": plan}))
    assert "split_by" not in by_group.snapshot.filter and not by_group.snapshot.split_by_label
    assert by_group.dataset_id != organize(spark, own).dataset_id


@pytest.mark.faults  # a minute and a half
def test_people_whom_training_has_not_seen_are_found_by_the_commands(own: Settings, hub: Hub) -> None:
    place = {"HUB__LAKE__ROOT": own.lake.root, "HUB__LABELS__READY_IMAGES": "1"}
    made = hub("organize", "--split-by", "label", "--json", **place)
    assert made.status == 0, made.stderr
    dataset = json.loads(made.stdout)["dataset_id"]
    refused = hub("train", "--dataset", dataset, "--epochs", "1", **place)
    assert refused.status == 1 and refused.stderr.count("\n") == 1 and "split by label" in refused.stderr
    trained = hub(
        "train", "--dataset", dataset, "--objective", "triplet", "--workers", "2", "--epochs", "2",
        "--batch-size", "8", "--json", HUB__TRAIN__IMAGES_PER_LABEL="2", **place,
    )  # fmt: skip
    assert trained.status == 0, trained.stderr
    result = json.loads(trained.stdout)
    assert "the other test pictures" in result["protocol"] and 0 <= result["retrieval_at_1"] <= 1
    shown = hub("evaluate", "--model", result["model_id"], **place)
    assert shown.status == 0, shown.stderr
    assert "protocol the nearest of the other test pictures" in shown.stdout
    evaluation = json.loads(Path(own.lake.at("artifacts", result["model_id"], "evaluation.json")).read_text())
    assert (evaluation["pictures"], evaluation["left_out"]) == (2 * (_EACH - 1), 0)
    assert evaluation["accuracy"] == pytest.approx(result["retrieval_at_1"])
