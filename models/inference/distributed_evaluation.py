"""Evaluate a trained model again on its test split, on Spark if the split is large."""

import math

from pyspark.sql import SparkSession

from conf.settings import Settings
from lake.snapshot import DatasetSnapshot, Split
from lake.spark import session
from lake.storage import Storage
from models import messages
from models.errors import NotTrainable
from models.evaluation import artifacts
from models.evaluation.metrics import (
    Evaluation,
    Predict,
    embed_all,
    evaluate_predictions,
    evaluate_retrieval,
    predict_all,
)
from models.inference.prediction import load_in_task, load_model
from models.messages import Embedded, Tested
from models.native_output import stderr_to
from models.pictures.disk_cache import load_rows
from models.pictures.inputs import RowRange, evaluation_rows
from models.registry import model_cards, model_rows
from models.registry.model_cards import ModelCard
from models.runs.train import load_snapshot

PICTURES_PER_TASK = 4096  # at most, in one Spark task
SPARK_THRESHOLD = 2048  # use Spark above this number of test pictures; below it, starting Spark takes longer
PIXEL_MEMORY = 2**30  # of pixels held at once by a task (bytes)
TOLERANCE = 1e-6  # for equal metrics: other batch sizes sum in another order


def evaluate_model(settings: Settings, model_id: str, spark: SparkSession | None = None) -> Evaluation:
    """Evaluate a model on the test split of its dataset and rewrite its evaluation files.

    Up to `SPARK_THRESHOLD` pictures are predicted in this process, more in Spark tasks. The row in the
    `models` table is updated only if a metric has changed.

    Args:
        settings: of the hub.
        model_id: of the model.
        spark: session to use for any number of pictures; if None, one is started and stopped when needed.

    Raises:
        UnknownModel, UnusableModel, UnknownDataset: no model has this id, it is not ready, or has no dataset.
        NotTrainable: the dataset has no test pictures.
    """
    card = model_cards.ready_card(settings, model_id)
    snapshot = load_snapshot(settings, card.dataset_id)
    rows = snapshot.row_count(Split.TEST)
    if not rows:
        raise NotTrainable(f"dataset {card.dataset_id} has no test pictures to evaluate {model_id} on")
    own_session = None
    if spark is None and rows > SPARK_THRESHOLD:
        spark = own_session = session.start(settings, "evaluate")
    try:
        if spark:
            evaluation = evaluate_parts(card, predict_on_spark(spark, settings, card, snapshot))
        else:
            with stderr_to(settings.logs.dir / "tensorflow.out"):
                model = load_model(settings, model_id)
                predictions = predict_rows(model.predict, card, snapshot, RowRange(0, rows))
                evaluation = evaluate_parts(card, [predictions])
        storage = model_cards.artifact_storage(settings, model_id)
        artifacts.write_evaluation(storage, evaluation, snapshot, model_id)
        _update_metrics(settings, card, storage, evaluation)
    finally:
        if own_session:
            own_session.stop()
    return evaluation


def predict_rows(
    predict: Predict, card: ModelCard, snapshot: DatasetSnapshot, rows: RowRange, task: int = 0
) -> Tested | Embedded:
    """Predict a range of rows of the test split, as a message."""
    pictures = load_rows(snapshot, Split.TEST, rows, card.side, PIXEL_MEMORY)
    if card.objective == "triplet":
        return messages.pack_embeddings(task, Split.TEST, embed_all(predict, pictures, card.side))
    return predict_all(predict, pictures, card.side, task)


def evaluate_parts(card: ModelCard, parts: list[Tested | Embedded]) -> Evaluation:
    """Evaluate the predictions of several tasks, given in the order of the split."""
    predictions = [part for part in parts if isinstance(part, Tested)]
    if predictions:
        return evaluate_predictions(card.labels, predictions)
    vectors = messages.unpack_embeddings([part for part in parts if isinstance(part, Embedded)])
    return evaluate_retrieval(card.labels, vectors)


def predict_on_spark(
    spark: SparkSession, settings: Settings, card: ModelCard, snapshot: DatasetSnapshot
) -> list[Tested | Embedded]:
    """Predict the test split on Spark, a range of rows per task; results are in the order of the split."""
    rows, files = snapshot.row_count(Split.TEST), model_cards.artifact_storage(settings, card.model_id)
    tasks = min(rows, max(spark.sparkContext.defaultParallelism, math.ceil(rows / PICTURES_PER_TASK)))

    def predict(task: int) -> bytes:
        model = load_in_task(card, files)
        task_rows = evaluation_rows(rows, task, tasks)
        return messages.encode(predict_rows(model.predict, card, snapshot, task_rows, task))

    encoded = spark.sparkContext.parallelize(range(tasks), tasks).map(predict).collect()
    decoded = [messages.decode(data) for data in encoded]
    return [part for part in decoded if isinstance(part, Tested | Embedded)]


def _update_metrics(settings: Settings, card: ModelCard, storage: Storage, evaluation: Evaluation) -> None:
    metrics = storage.read_json(artifacts.METRICS)
    new = artifacts.summary_metrics(evaluation, card.objective)
    if all(_equal(metrics.get(name), value) for name, value in new.items()):
        return
    updated = metrics | new
    storage.write_json(artifacts.METRICS, updated)
    model_cards.set_accuracy(settings, card.model_id, evaluation.accuracy)
    row = {name: value for name, value in updated.items() if isinstance(value, float)}
    model_rows.set_metrics(settings, card.model_id, row)


def _equal(old: object, new: float | None) -> bool:
    if isinstance(old, int | float) and new is not None:
        return math.isclose(old, new, abs_tol=TOLERANCE)
    return old is new
