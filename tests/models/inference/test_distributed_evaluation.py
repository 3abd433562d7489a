"""A finished model measured again: in one process, on Spark's executors, and what that changes."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pyspark.sql.types import StructType

from conf.sections import Lake
from conf.settings import Settings
from lake import tables
from lake.schemas import MODELS, Table
from lake.snapshot import Split
from models.evaluation import artifacts
from models.inference import catalogue, distributed_evaluation
from models.inference.distributed_evaluation import evaluate_model
from models.inference.prediction import LoadedModel, load
from models.plan import TrainingPlan
from models.registry import model_cards, model_rows
from models.registry.model_cards import State
from tests.support import colours, tiny
from tests.support.commands import Hub

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.services

MODEL = "resnet20-20261121-0800-ffff"
NEW = ("code_version", "seed", "seconds", "cpu_seconds")  # columns that older tables lack


@pytest.fixture(scope="module")
def own(settings: Settings, spark: "SparkSession", tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A lake of an older hub, on which a model was trained whose test split has 3 mistakes in 100."""
    own = settings.model_copy(update={"lake": Lake(root=str(tmp_path_factory.mktemp("testing") / "lake"))})
    old = StructType([field for field in MODELS if field.name not in NEW])
    row = dict.fromkeys(old.names) | {"model_id": "old", "state": "ready", "workers": 2}
    spark.createDataFrame([row], old).write.format("delta").save(own.lake.at(Table.MODELS))
    names = list(colours.COLOURS)
    listed = [
        (f"p{n}", (n + (n % 40 == 7)) % 3, colours.jpeg(names[n % 3])) for n in range(100)
    ]  # labels of 7, 47 and 87 are wrong
    split = {Split.TRAIN: listed[:6], Split.VALIDATION: listed[:3], Split.TEST: listed}
    tiny.written(own, "colours", tuple(names), split, shard_rows=30)
    plan = TrainingPlan.of(own, "colours", 2, seed=11)
    model_rows.begin(own, MODEL, plan, tuple(names))
    assert model_cards.any_card(own, MODEL).state is State.TRAINING
    colours.model(own, MODEL)  # what the workers would have made
    files = model_cards.artifacts(own, MODEL)
    card = {"dataset_id": "colours", "architecture": "resnet20"}
    files.write_json(model_cards.CARD, files.read_json(model_cards.CARD) | card)
    metrics = {"seconds": 12.5, "cpu_seconds": 20.25, "test_accuracy": 0.5}
    files.write_json(artifacts.METRICS, metrics)
    model_rows.end(own, MODEL, metrics)
    return own


def test_a_table_of_an_older_hub_gets_the_columns_it_lacks(spark: "SparkSession", own: Settings) -> None:
    rows = {row.model_id: row for row in tables.read(spark, own.lake, Table.MODELS).collect()}
    assert rows["old"].workers == 2 and rows["old"].cpu_seconds is None
    new = rows[MODEL]
    assert (new.state, new.seed, new.seconds, new.cpu_seconds) == ("ready", 11, 12.5, 20.25)
    assert new.code_version.startswith("0.") and json.loads(new.settings)["seed"] == 11


def test_executors_give_the_figures_of_one_process(spark: "SparkSession", own: Settings, hub: Hub) -> None:
    spread = evaluate_model(own, MODEL, spark)
    assert spread.pictures == 100 and spread.accuracy == 0.97
    assert [mistake.image_id for mistake in spread.mistakes] and len(spread.mistakes) == 3
    # The row and the card had another accuracy.
    row = tables.read(spark, own.lake, Table.MODELS).where(f"model_id = '{MODEL}'").head()
    assert row is not None and row.metrics["test_accuracy"] == 0.97 and row.metrics["cpu_seconds"] == 20.25
    assert model_cards.card(own, MODEL).accuracy == 0.97
    files = model_cards.artifacts(own, MODEL)
    written = files.read_json(artifacts.EVALUATION)
    files.write(artifacts.MISTAKES, b"")
    done = hub("evaluate", "--model", MODEL, "--json", HUB__LAKE__ROOT=own.lake.root)  # 100: no Spark
    assert done.status == 0, done.stderr
    alone = json.loads(done.stdout)
    for name in ("accuracy", "accuracy_interval", "confusion", "per_class", "top5_accuracy"):
        assert alone[name] == written[name], name
    assert alone["calibration_error"] == pytest.approx(written["calibration_error"], abs=1e-5)
    assert Path(alone["mistakes_png"]).read_bytes().startswith(b"\x89PNG")


def test_a_model_that_is_retired_while_it_is_measured_stays_so(
    own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = model_cards.artifacts(own, MODEL)
    files.write_json(artifacts.METRICS, files.read_json(artifacts.METRICS) | {"test_accuracy": 0.5})

    def loaded_and_retired(settings: Settings, model_id: str) -> LoadedModel:
        model = load(settings, model_id)
        catalogue.retire(settings, model_id)
        return model

    monkeypatch.setattr(distributed_evaluation, "load", loaded_and_retired)
    evaluate_model(own, MODEL)
    found = model_cards.any_card(own, MODEL)
    assert found.state is State.RETIRED and found.accuracy == 0.97


def test_a_retired_models_row_says_so(spark: "SparkSession", own: Settings) -> None:
    model_rows.set_state(own, "old", State.RETIRED)
    assert model_rows.find(spark, own.lake, "old") is State.RETIRED
