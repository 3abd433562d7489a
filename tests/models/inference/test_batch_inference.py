"""`hub predict --table`: label all pictures of a table into another table, on Spark."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conf.errors import UsageError
from conf.settings import Settings
from lake import tables
from lake.errors import JobFailed
from lake.schemas import SAMPLES, UPLOADS
from lake.table import Table
from models.errors import UnusableModel
from models.formats.export import KERAS
from models.inference.batch_inference import predict_table
from models.registry import model_cards
from models.registry.model_cards import State
from tests.support import colours
from tests.support.colours import COLOURS
from tests.support.commands import Hub

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.services

PICTURES = 400
BROKEN, MISSING = 7, 11


@pytest.fixture(scope="module")
def model(settings: Settings) -> str:
    return colours.model(settings, "by-hand-20261121-0800-0002")


def rows() -> list[tuple[str, bytes | None]]:
    """Names that begin with the colour, and pictures; one picture is broken, one is null."""
    names = [list(COLOURS)[number % 3] for number in range(PICTURES)]
    listed: list[tuple[str, bytes | None]] = [
        (f"{name}-{number}", colours.jpeg(name)) for number, name in enumerate(names)
    ]
    listed[BROKEN] = ("broken", b"\xff\xd8 no picture")
    listed[MISSING] = ("missing", None)
    return listed


@pytest.fixture(scope="module")
def pictures(spark: "SparkSession", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Parquet table of ten files."""
    folder = tmp_path_factory.mktemp("tables") / "pictures"
    frame = spark.createDataFrame(rows(), "image_id string, jpeg binary")
    frame.repartition(10).write.parquet(str(folder))
    return folder


def labels_are_correct(found: "DataFrame") -> bool:
    listed = {row.image_id: row for row in found.collect()}
    broken, missing = listed.pop("broken"), listed.pop("missing")
    assert broken.label is None and broken.probability is None and "cannot read" in broken.error
    assert missing.label is None and "it is null" in missing.error
    return all(
        name.startswith(row.label) and row.probability > 0.9 and row.error is None
        for name, row in listed.items()
    )


def test_a_table_is_labelled_into_a_delta_table(
    spark: "SparkSession", settings: Settings, model: str, pictures: Path, tmp_path: Path
) -> None:
    target = tmp_path / "labels"
    done = predict_table(spark, settings, model, str(pictures), str(target))
    assert (done.pictures, done.errors, done.target) == (PICTURES, 2, str(target))
    found = spark.read.format("delta").load(str(target))
    assert found.columns == ["image_id", "label", "probability", "error", "model_id"]
    assert found.count() == PICTURES and labels_are_correct(found)
    assert [row.model_id for row in found.select("model_id").distinct().collect()] == [model]


def test_each_python_worker_loads_the_model_once(
    spark: "SparkSession", settings: Settings, pictures: Path, tmp_path: Path
) -> None:
    own = colours.model(settings, "by-hand-20261121-0800-0003")  # not yet loaded by any worker
    spark.conf.set("spark.sql.files.openCostInBytes", 2**40)  # a task for each of the ten files
    try:
        tasks = spark.read.parquet(str(pictures)).rdd.getNumPartitions()
        done = predict_table(spark, settings, own, str(pictures), str(tmp_path / "one"))
        again = predict_table(spark, settings, own, str(pictures), str(tmp_path / "two"))
    finally:
        spark.conf.unset("spark.sql.files.openCostInBytes")
    assert tasks == 10
    assert 1 <= done.loads <= 2  # the session has two cores, so at most two tasks run at a time
    assert done.loads + again.loads <= 2  # a worker keeps the model it has loaded


def test_a_single_large_file_is_shared_among_the_cores(
    spark: "SparkSession", settings: Settings, pictures: Path, tmp_path: Path
) -> None:
    spark.read.parquet(str(pictures)).coalesce(1).write.parquet(str(tmp_path / "one-file"))
    target = tmp_path / "labels.parquet"
    predict_table(
        spark,
        settings,
        colours.model(settings, "by-hand-20261121-0800-0004"),
        str(tmp_path / "one-file"),
        str(target),
    )
    found = spark.read.parquet(str(target))
    assert labels_are_correct(found) and len(found.inputFiles()) > 2


@pytest.fixture(scope="module")
def lake(spark: "SparkSession", settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A lake with two accepted uploads of one image, and a rejected upload."""
    root = str(tmp_path_factory.mktemp("bulk-lake"))
    own = settings.model_copy(update={"lake": settings.lake.model_copy(update={"root": root})})
    tables.create(spark, own.lake)
    uploads: list[dict[str, Any]] = [
        {"upload_id": "u1", "image_id": "red-1", "verdict": "accepted", "jpeg": colours.jpeg("red")},
        {"upload_id": "u2", "image_id": "red-1", "verdict": "accepted", "jpeg": colours.jpeg("red")},
        {"upload_id": "u3", "image_id": "blue-1", "verdict": "rejected", "jpeg": None},
    ]
    for table, listed, schema in (
        (Table.UPLOADS, uploads, UPLOADS),
        (Table.SAMPLES, [{"upload_id": "u1", "image_id": "red-1"}], SAMPLES),
    ):
        full = [dict.fromkeys(schema.names) | row for row in listed]
        spark.createDataFrame(full, schema).write.format("delta").mode("append").save(own.lake.at(table))
    colours.model(own, "by-hand-20261121-0800-0005")
    return own


@pytest.mark.parametrize(("name", "count"), [("uploads", 2), ("samples", 1)])
def test_the_tables_of_the_lake_are_sources_by_name(
    spark: "SparkSession", lake: Settings, name: str, count: int
) -> None:
    done = predict_table(spark, lake, "by-hand-20261121-0800-0005", name, replace=True)
    assert done.pictures == count
    assert done.target == lake.lake.at("predictions", "by-hand-20261121-0800-0005")
    assert [row.label for row in spark.read.format("delta").load(done.target).collect()] == ["red"] * count


def test_sources_and_targets_that_cannot_be_used_are_refused_in_one_line(
    spark: "SparkSession", settings: Settings, model: str, pictures: Path, tmp_path: Path
) -> None:
    def label(source: str, target: str = str(tmp_path / "out"), model_id: str = model) -> None:
        predict_table(spark, settings, model_id, source, target)

    with pytest.raises(UsageError, match=r"is neither uploads, samples nor a Delta or Parquet table"):
        label("nowhere")
    spark.range(3).write.parquet(str(tmp_path / "numbers"))
    with pytest.raises(UsageError, match=r"has no binary column named jpeg, image, .*; it has id"):
        label(str(tmp_path / "numbers"))
    with pytest.raises(UsageError, match="exists already: --replace"):
        label(str(pictures), str(tmp_path / "numbers"))
    (tmp_path / "file").write_text("")
    with pytest.raises(JobFailed, match=r"cannot label .*file/below: .*(not a directory|Cannot create file)"):
        label(str(pictures), str(tmp_path / "file" / "below"))
    with pytest.raises(UnusableModel, match="is retired"):
        colours.model(settings, "by-hand-20261121-0800-0006", state=State.RETIRED)
        label(str(pictures), model_id="by-hand-20261121-0800-0006")
    assert not (tmp_path / "out").exists()


def test_a_table_may_lie_in_a_folder_whose_name_looks_like_a_pattern(
    spark: "SparkSession", settings: Settings, model: str, pictures: Path, tmp_path: Path
) -> None:
    odd = tmp_path / "[2024] a{b},c *d?"
    odd.mkdir()
    shutil.copytree(pictures, odd / "pictures.parquet")
    done = predict_table(spark, settings, model, str(odd / "pictures.parquet"), str(odd / "labels"))
    assert done.pictures == PICTURES and (odd / "labels" / "_delta_log").is_dir()
    done = predict_table(spark, settings, model, str(tmp_path / "?2024*/pic*"), str(tmp_path / "by-pattern"))
    assert done.pictures == PICTURES


@pytest.mark.faults  # each attempt of a task imports TensorFlow
def test_a_failed_job_names_its_cause_and_leaves_nothing_that_blocks_the_next(
    spark: "SparkSession", settings: Settings, model: str, pictures: Path, tmp_path: Path
) -> None:
    broken = colours.model(settings, "by-hand-20261121-0800-0101")
    model_cards.artifact_storage(settings, broken).write(KERAS, b"no zip")
    target = tmp_path / "out"
    with pytest.raises(JobFailed, match=rf"^cannot label {pictures} into {target}: ValueError: .*keras"):
        predict_table(spark, settings, broken, str(pictures), str(target))
    assert list(tmp_path.iterdir()) == []
    assert predict_table(spark, settings, model, str(pictures), str(target)).pictures == PICTURES


@pytest.mark.faults  # half a minute
def test_the_command_prints_the_target_table(hub: Hub, model: str, pictures: Path, tmp_path: Path) -> None:
    done = hub("predict", "--model", model, "--table", str(pictures), "--to", str(tmp_path / "out"), "--json")
    assert done.status == 0, done.stderr
    output = json.loads(done.stdout)
    assert (output["pictures"], output["errors"], output["path"]) == (PICTURES, 2, str(tmp_path / "out"))
    assert (tmp_path / "out" / "_delta_log").is_dir()
    wrong = hub("predict", "--model", model, "--table", str(pictures), "a.jpg")
    assert wrong.status == 2 and "one table with --table" in wrong.stderr
