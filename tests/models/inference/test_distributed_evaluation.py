"""`hub evaluate`: evaluate a model again, in one process and on Spark, and update its metrics."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pyspark.sql.types import StructType

from conf.sections import Lake
from conf.settings import Settings
from lake import tables
from lake.schemas import MODELS
from lake.snapshot import Split
from lake.table import Table
from models.evaluation import artifacts
from models.inference import catalogue, distributed_evaluation
from models.inference.distributed_evaluation import evaluate_model
from models.inference.prediction import LoadedModel, load_model
from models.plan import TrainingPlan
from models.registry import model_cards, model_rows
from models.registry.model_cards import State
from tests.support import colours, tiny
from tests.support.commands import Hub

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.services

MODEL = "resnet20-20261121-0800-ffff"
NEW = ("code_version", "seed", "seconds", "cpu_seconds")  # columns missing from older tables


@pytest.fixture(scope="module")
def own(settings: Settings, spark: "SparkSession", tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A lake of an older hub, with a model that makes 3 mistakes on 100 test pictures."""
    own = settings.model_copy(update={"lake": Lake(root=str(tmp_path_factory.mktemp("testing") / "lake"))})
    old = StructType([field for field in MODELS if field.name not in NEW])
    row = dict.fromkeys(old.names) | {"model_id": "old", "state": "ready", "workers": 2}
    spark.createDataFrame([row], old).write.format("delta").save(own.lake.at(Table.MODELS))
    names = list(colours.COLOURS)
    listed = [
        (f"p{n}", (n + (n % 40 == 7)) % 3, colours.jpeg(names[n % 3])) for n in range(100)
    ]  # labels of 7, 47 and 87 are wrong
    split = {Split.TRAIN: listed[:6], Split.VALIDATION: listed[:3], Split.TEST: listed}
    tiny.write_snapshot(own, "colours", tuple(names), split, shard_rows=30)
    plan = TrainingPlan.of(own, "colours", 2, seed=11)
    model_rows.register_run(own, MODEL, plan, tuple(names))
    assert model_cards.any_card(own, MODEL).state is State.TRAINING
    colours.model(own, MODEL)  # the files that workers would have written
    files = model_cards.artifact_storage(own, MODEL)
    card = {"dataset_id": "colours", "architecture": "resnet20"}
    files.write_json(model_cards.CARD_FILE, files.read_json(model_cards.CARD_FILE) | card)
    metrics = {"seconds": 12.5, "cpu_seconds": 20.25, "test_accuracy": 0.5}
    files.write_json(artifacts.METRICS, metrics)
    model_rows.record_result(own, MODEL, metrics)
    return own


def test_missing_columns_are_added_to_a_table_of_an_older_hub(spark: "SparkSession", own: Settings) -> None:
    rows = {row.model_id: row for row in tables.read(spark, own.lake, Table.MODELS).collect()}
    assert rows["old"].workers == 2 and rows["old"].cpu_seconds is None
    new = rows[MODEL]
    assert (new.state, new.seed, new.seconds, new.cpu_seconds) == ("ready", 11, 12.5, 20.25)
    assert new.code_version.startswith("0.") and json.loads(new.settings)["seed"] == 11


def test_spark_gives_the_metrics_of_one_process(spark: "SparkSession", own: Settings, hub: Hub) -> None:
    on_spark = evaluate_model(own, MODEL, spark)
    assert on_spark.pictures == 100 and on_spark.accuracy == 0.97
    assert [mistake.image_id for mistake in on_spark.mistakes] and len(on_spark.mistakes) == 3
    # Row and card had another accuracy before.
    row = tables.read(spark, own.lake, Table.MODELS).where(f"model_id = '{MODEL}'").head()
    assert row is not None and row.metrics["test_accuracy"] == 0.97 and row.metrics["cpu_seconds"] == 20.25
    assert model_cards.ready_card(own, MODEL).accuracy == 0.97
    files = model_cards.artifact_storage(own, MODEL)
    written = files.read_json(artifacts.EVALUATION)
    files.write(artifacts.MISTAKES, b"")
    done = hub("evaluate", "--model", MODEL, "--json", HUB__LAKE__ROOT=own.lake.root)  # 100: no Spark
    assert done.status == 0, done.stderr
    in_one_process = json.loads(done.stdout)
    for name in ("accuracy", "accuracy_interval", "confusion", "per_class", "top5_accuracy"):
        assert in_one_process[name] == written[name], name
    assert in_one_process["calibration_error"] == pytest.approx(written["calibration_error"], abs=1e-5)
    assert Path(in_one_process["mistakes_png"]).read_bytes().startswith(b"\x89PNG")


def test_a_model_retired_during_its_evaluation_stays_retired(
    own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = model_cards.artifact_storage(own, MODEL)
    files.write_json(artifacts.METRICS, files.read_json(artifacts.METRICS) | {"test_accuracy": 0.5})

    def load_and_retire(settings: Settings, model_id: str) -> LoadedModel:
        model = load_model(settings, model_id)
        catalogue.retire(settings, model_id)
        return model

    monkeypatch.setattr(distributed_evaluation, "load_model", load_and_retire)
    evaluate_model(own, MODEL)
    found = model_cards.any_card(own, MODEL)
    assert found.state is State.RETIRED and found.accuracy == 0.97


def test_the_row_of_a_retired_model_has_that_state(spark: "SparkSession", own: Settings) -> None:
    model_rows.set_state(own, "old", State.RETIRED)
    assert model_rows.find_state(spark, own.lake, "old") is State.RETIRED
