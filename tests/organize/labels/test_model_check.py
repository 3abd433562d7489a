"""A model judges labels of pictures that it did not learn, also as they arrive."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as f

from conf.sections import Lake
from conf.settings import Settings
from lake import row_writer, tables
from lake.snapshot import DatasetSnapshot, Split
from lake.storage import Storage
from lake.table import Table
from models.errors import UnknownModel
from models.inference import catalogue
from models.runs.train import TrainedModel
from organize.chunk import Chunk, SampleChanges
from organize.features.description import describe_here
from organize.labels import model_check, stage
from tests.organize.embedded_lake import MODEL

pytestmark = pytest.mark.services

_COLUMNS = ("image_id", "label_quality", "suggested_label", "label_reason")


def _fill(settings: Settings, snapshot: DatasetSnapshot) -> tuple[list[str], list[int]]:
    """Samples and uploads of all training and test pictures; every tenth test picture has a wrong label."""
    samples: list[dict[str, Any]] = []
    uploads: list[dict[str, Any]] = []
    tested: list[str] = []
    wrong: list[int] = []
    for split in (Split.TRAIN, Split.TEST):
        for batch in snapshot.batches(split, 0, snapshot.row_count(split)):
            for row in batch.to_pylist():
                number = row["label"]
                if split is Split.TEST:
                    if len(tested) % 10 == 0:
                        wrong.append(len(tested))
                        number = (number + 1) % 10
                    tested.append(row["image_id"])
                common = {
                    "image_id": row["image_id"],
                    "upload_id": f"u-{row['image_id']}",
                    "label": str(number),
                }
                samples.append(common | {"flags": [], "label_source": "claimed"})
                uploads.append(common | {"verdict": "accepted", "jpeg": row["jpeg"]})
    row_writer.append(settings, Table.SAMPLES, *samples)
    row_writer.append(settings, Table.UPLOADS, *uploads)
    return tested, wrong


@pytest.fixture
def own(settings: Settings, digits_model: TrainedModel, tmp_path: Path) -> Settings:
    """A lake with the model and its dataset, and nothing else."""
    for folder in (("artifacts", digits_model.model_id), ("snapshots", "digits")):
        shutil.copytree(settings.lake.at(*folder), tmp_path.joinpath("lake", *folder))
    return settings.model_copy(update={"lake": Lake(root=str(tmp_path / "lake"))})


def test_a_model_finds_wrong_labels_where_it_has_not_learnt(
    own: Settings, cluster: SparkSession, digits_model: TrainedModel
) -> None:
    tables.create(cluster, own.lake)
    snapshot = DatasetSnapshot.load(Storage(own.lake.at("snapshots", "digits"), own.s3))
    tested, wrong = _fill(own, snapshot)
    trained = snapshot.row_count(Split.TRAIN)
    done = model_check.check_by_model(cluster, own, digits_model.model_id)
    assert done.checked == len(tested)
    assert done.not_checked == {"the model learnt it, or a near duplicate": trained}
    found: dict[str, dict[str, Any]] = {
        row["image_id"]: row for row in row_writer.read(own, Table.SAMPLES, _COLUMNS)
    }
    quality = [found[image_id]["label_quality"] for image_id in tested]
    doubted = sorted(range(len(tested)), key=lambda row: quality[row])[: len(wrong)]
    assert len(set(doubted) & set(wrong)) > 0.8 * len(wrong)
    named = [found[tested[row]] for row in wrong if found[tested[row]]["suggested_label"]]
    assert len(named) > 0.7 * len(wrong)
    assert named[0]["label_reason"].startswith(f"model {digits_model.model_id}: ")
    assert (
        found["train-0" if "train-0" in found else next(iter(set(found) - set(tested)))]["label_quality"]
        is None
    )

    with pytest.raises(UnknownModel, match="no model 'm-0'"):
        model_check.check_by_model(cluster, own, "m-0")

    # In use, it scores new uploads as they arrive, without any embedding.
    catalogue.set_in_use(own, digits_model.model_id)
    unscored = [{"image_id": each, "label_quality": None} for each in tested[:3]]
    row_writer.update(own, Table.SAMPLES, "image_id", *unscored)
    stored = tables.read(cluster, own.lake, Table.UPLOADS).where(f.col("image_id").isin(tested[:3]))
    pictures = stored.select("image_id", "label", "jpeg", f.lit(None).cast("binary").alias("vector"))
    predict = stage.describe(own)
    assert predict is not None
    images = describe_here(pictures.toArrow(), [predict])
    chunk = Chunk(cluster, own, MODEL, images, SampleChanges(own))
    assert stage.score_images(chunk) == 3 and chunk.samples.write() == 3
    again = {row["image_id"]: row for row in row_writer.read(own, Table.SAMPLES, _COLUMNS)}
    for image_id in tested[:3]:
        assert again[image_id]["label_quality"] == pytest.approx(found[image_id]["label_quality"], abs=1e-4)
