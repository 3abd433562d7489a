"""Training on a real two-worker TensorFlowOnSpark cluster, and its artifacts."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from conf import version
from conf.settings import Settings
from lake import tables
from lake.snapshot import DatasetSnapshot, Split
from lake.table import Table
from models.errors import ClusterTooSmall, TrainingFailed, UnknownModel
from models.evaluation import artifacts
from models.evaluation.metrics import predict_all
from models.formats.export import KERAS, SAVED_MODEL, TFLITE, TFLITE_INT8
from models.inference import prediction
from models.inference.distributed_evaluation import evaluate_model
from models.pictures.inputs import RowRange, evaluation_batches, read_pictures
from models.plan import TrainingPlan, WorkerTask
from models.registry import model_cards, model_rows
from models.registry.model_cards import State
from models.runs import cluster
from models.runs.train import TrainedModel, train
from models.workers.checkpoints import Checkpoints
from tests.support import tiny

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("by_value")]


@pytest.fixture(scope="module")
def spark(cluster: "SparkSession") -> "SparkSession":
    """Training needs executors that are separate processes."""
    return cluster


@pytest.fixture(scope="module")
def snapshot(settings: Settings) -> DatasetSnapshot:
    return tiny.snapshot(settings, "tiny")


def plan(settings: Settings, **given: Any) -> TrainingPlan:
    chosen = {
        "workers": 2,
        "epochs": 5,
        "batch_size": 16,
        "warmup_epochs": 1.0,
        "learning_rate": 0.05,
    } | given
    return TrainingPlan.of(settings, chosen.pop("dataset_id", "tiny"), chosen.pop("workers"), **chosen)


@pytest.fixture(scope="module")
def trained(settings: Settings, spark: "SparkSession", snapshot: DatasetSnapshot) -> TrainedModel:
    return train(settings, plan(settings), spark, bar=False)


def test_two_workers_learn_the_stripes(
    trained: TrainedModel, settings: Settings, spark: "SparkSession"
) -> None:
    assert trained.evaluation.pictures == 41
    assert trained.evaluation.accuracy is not None and trained.evaluation.accuracy >= 0.95
    assert trained.steps == 5 * (256 // 2 // 16)
    assert [row.epoch for row in trained.history] == [1, 2, 3, 4, 5]
    assert trained.resumed_from is None and trained.restarts == 0
    assert 0 < (trained.seconds_to_first_step or 0) < trained.seconds
    assert 0 < (trained.seconds_after_last_step or 0) < trained.seconds
    row = tables.read(spark, settings.lake, Table.MODELS).where(f"model_id = '{trained.model_id}'").head()
    assert row is not None and (row.state, row.workers, row.dataset_id) == ("ready", 2, "tiny")
    assert row.seed == trained.plan.seed and row.code_version == version.code_version()
    assert (row.seconds, row.cpu_seconds) == (row.metrics["seconds"], trained.cpu_seconds)
    assert 5 < row.cpu_seconds < 2 * trained.seconds + 5  # two processes of a core each import TensorFlow
    assert row.metrics["test_accuracy"] == trained.evaluation.accuracy and row.finished > row.created
    assert model_rows.find_state(spark, settings.lake, trained.model_id) is State.READY


def test_a_run_writes_all_its_artifacts(trained: TrainedModel, settings: Settings) -> None:
    storage = model_cards.artifact_storage(settings, trained.model_id)
    names = storage.list_files()
    expected = {KERAS, f"{SAVED_MODEL}/saved_model.pb", TFLITE, model_cards.CARD_FILE}
    expected |= {
        TFLITE_INT8,
        artifacts.MISTAKES,
        artifacts.LABELS,
        artifacts.METRICS,
        artifacts.HISTORY,
        artifacts.EVALUATION,
    }
    assert expected | {artifacts.CURVES, artifacts.CONFUSION} <= set(names)
    assert any(name.startswith("tensorboard/events") for name in names)
    assert Checkpoints(storage.subfolder("checkpoints")).epochs() == [4, 5]
    assert storage.read(artifacts.LABELS).decode().split() == list(tiny.LABELS)
    history = list(csv.DictReader(io.StringIO(storage.read(artifacts.HISTORY).decode())))
    assert [float(row["loss"]) for row in history] == [row.loss for row in trained.history]
    assert all(0 < float(row["input_wait_share"]) < 1 for row in history)
    figures = storage.read_json(artifacts.METRICS)
    assert figures["input_wait_share"] == trained.input_wait_share < 1


def test_saved_model_and_tflite_agree_with_keras(
    trained: TrainedModel, settings: Settings, snapshot: DatasetSnapshot, tmp_path: Path
) -> None:
    import tensorflow as tf

    model_cards.artifact_storage(settings, trained.model_id).download(tmp_path)
    pictures = read_pictures(snapshot, Split.TEST, RowRange(0, 41), 32)
    images = next(evaluation_batches(pictures, 32, 41))[0].astype(np.float32)
    expected = np.asarray(prediction.load_model(settings, trained.model_id).keras(images))
    assert expected.sum(axis=1) == pytest.approx(np.ones(41), abs=1e-5)
    loaded = tf.saved_model.load(str(tmp_path / SAVED_MODEL))
    served = loaded.signatures["pixels"](tf.constant(images))["probabilities"]
    assert np.abs(served.numpy() - expected).max() < 1e-5
    phone = tf.lite.Interpreter(str(tmp_path / TFLITE))
    (taken,), (given,) = phone.get_input_details(), phone.get_output_details()
    phone.resize_tensor_input(taken["index"], images.shape)
    phone.allocate_tensors()
    phone.set_tensor(taken["index"], images)
    phone.invoke()
    assert np.abs(phone.get_tensor(given["index"]) - expected).max() < 1e-3


def test_measuring_again_gives_the_same_figures(trained: TrainedModel, settings: Settings) -> None:
    again = evaluate_model(settings, trained.model_id)
    assert np.array_equal(again.confusion, trained.evaluation.confusion)


def test_a_broken_picture_is_an_error_in_its_row(
    trained: TrainedModel, settings: Settings, tmp_path: Path
) -> None:
    files = tiny.folder(tmp_path / "pictures", 8)
    (tmp_path / "pictures" / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    rows = prediction.predict_paths(settings, trained.model_id, [str(tmp_path / "pictures")])
    assert [row.path for row in rows] == sorted([*files, str(tmp_path / "pictures" / "broken.jpg")])
    for row in rows:
        if row.path.endswith("broken.jpg"):
            assert row.label is None and row.probability is None and "cannot read" in (row.error or "")
        else:
            assert row.error is None and row.label == Path(row.path).name.split("-")[0]


def test_predictions_on_spark_are_those_of_one_process(
    trained: TrainedModel, settings: Settings, spark: "SparkSession", tmp_path: Path
) -> None:
    files = tiny.folder(tmp_path / "many", 70)
    model = prediction.load_model(settings, trained.model_id)
    spread = prediction.predict_on_spark(spark, settings, model.card, files)
    here = prediction.predict_files(model, files)
    assert [row.path for row in spread] == files
    assert [row.label for row in spread] == [row.label for row in here]
    assert [row.probability for row in spread] == pytest.approx([row.probability for row in here], abs=1e-4)


@pytest.mark.faults  # slow
def test_one_worker_does_as_well_as_two(
    trained: TrainedModel, settings: Settings, spark: "SparkSession"
) -> None:
    alone = train(settings, plan(settings, workers=1, batch_size=32), spark, bar=False)
    assert alone.steps == trained.steps
    assert alone.evaluation.accuracy == pytest.approx(trained.evaluation.accuracy, abs=0.08)


@pytest.mark.faults  # slow
def test_two_workers_start_from_a_model_and_train_a_new_head_first(
    trained: TrainedModel, settings: Settings, spark: "SparkSession"
) -> None:
    tiny.snapshot(settings, "renamed", (64, 17, 21), labels=("a", "b", "c", "d"))
    chosen = plan(settings, dataset_id="renamed", source=trained.model_id, epochs=4, freeze_epochs=3)
    again = train(settings, chosen, spark, bar=False)
    # Six steps of a new head and two of everything: from scratch eight do not tell stripes apart.
    assert again.evaluation.accuracy is not None and again.evaluation.accuracy >= 0.9
    assert [row.epoch for row in again.history] == [1, 2, 3, 4]


@pytest.mark.faults  # slow
def test_two_workers_learn_embeddings(
    settings: Settings, spark: "SparkSession", snapshot: DatasetSnapshot
) -> None:
    chosen = plan(settings, epochs=3, batch_size=32, objective="triplet")
    found = train(settings, chosen, spark, bar=False)
    assert found.evaluation.pictures == 41 and found.steps == 3 * (256 // 2 // 32)
    assert found.evaluation.accuracy is not None and found.evaluation.accuracy >= 0.9
    assert found.verification is not None and found.verification.accuracy is not None
    figures = model_cards.artifact_storage(settings, found.model_id).read_json(artifacts.METRICS)
    assert figures["verification_accuracy"] == found.verification.accuracy >= 0.85
    assert figures["retrieval_at_1"] == found.evaluation.accuracy
    assert model_cards.ready_card(settings, found.model_id).objective == "triplet"


def fails(task: WorkerTask, context: Any) -> None:
    """Worker 1 fails; worker 0 would wait for it for ever."""
    from models.workers.worker_main import main

    if context.executor_id == 1:
        task = replace(task, snapshot=replace(task.snapshot, shards={}))
    main(task, context)


def test_a_failing_worker_ends_the_run_with_its_cause(
    settings: Settings, spark: "SparkSession", snapshot: DatasetSnapshot
) -> None:
    storage = model_cards.artifact_storage(settings, "failing")

    def task(address: tuple[str, int], authkey: bytes) -> WorkerTask:
        return WorkerTask(plan(settings), "failing", snapshot, storage, address, authkey)

    with pytest.raises(TrainingFailed, match=r"^worker 1: ZeroDivisionError: .*zero"):
        cluster.run(spark, fails, task, 2, settings.train, bar=False)
    assert spark.range(3).count() == 3  # the session lives on


def test_more_workers_than_executors_are_refused(
    settings: Settings, spark: "SparkSession", snapshot: DatasetSnapshot
) -> None:
    with pytest.raises(ClusterTooSmall, match="--workers 3 is more than the 2 executors"):
        train(settings, plan(settings, workers=3), spark, bar=False)


def test_the_error_for_an_unknown_model_names_existing_ones(
    trained: TrainedModel, settings: Settings, spark: "SparkSession"
) -> None:
    assert trained.model_id.startswith("resnet20-")
    with pytest.raises(UnknownModel, match=r"no model 'resnet1': the newest are .*resnet20-\d{8}-"):
        prediction.load_model(settings, "resnet1")
    with pytest.raises(UnknownModel, match=r"resnet20-\d{8}-"):
        model_rows.find_state(spark, settings.lake, "resnet1")


def test_answers_do_not_depend_on_the_batch(
    trained: TrainedModel, settings: Settings, snapshot: DatasetSnapshot
) -> None:
    model = prediction.load_model(settings, trained.model_id).keras
    whole = predict_all(model.predict_on_batch, read_pictures(snapshot, Split.TEST, RowRange(0, 41), 32), 32)
    parts = [
        predict_all(model.predict_on_batch, read_pictures(snapshot, Split.TEST, RowRange(a, b), 32), 32)
        for a, b in ((0, 20), (20, 41))
    ]
    assert whole.predicted == [label for part in parts for label in part.predicted]
