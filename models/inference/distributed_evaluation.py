"""Evaluate a trained model again on its test split, on Spark if the split is large."""

import math

from pyspark.sql import SparkSession

from conf.settings import Settings
from lake.job_failures import job_errors
from lake.native_output import stderr_to
from lake.snapshot import DatasetSnapshot, Split
from lake.spark import session
from lake.storage import Storage
from models import messages
from models.errors import NotTrainable
from models.evaluation import artifacts
from models.evaluation.metrics import Evaluation, Predict, evaluate_predictions, predict_all
from models.evaluation.retrieval import embed_all, evaluate_retrieval, gallery_rows
from models.inference.prediction import load_in_task, load_model
from models.messages import Embedded, Tested
from models.pictures.disk_cache import load_rows
from models.pictures.inputs import RowRange, evaluation_rows
from models.registry import model_cards, model_rows
from models.registry.model_cards import ModelCard
from models.runs.train import load_snapshot

PICTURES_PER_TASK = 4096  # at most, in one Spark task
SPARK_THRESHOLD = 2048  # use Spark above this number of pictures; below it, starting Spark takes longer
PIXEL_MEMORY = 2**30  # of pixels held at once by a task (bytes)
TOLERANCE = 1e-6  # for equal metrics: other batch sizes sum in another order


def evaluate_model(settings: Settings, model_id: str, spark: SparkSession | None = None) -> Evaluation:
    """Evaluate a model on the test split of its dataset and rewrite its evaluation files.

    Up to `SPARK_THRESHOLD` pictures are predicted in this process, more in Spark tasks; an embedding model
    also embeds the pictures that test pictures are compared with. The row in the `models` table is updated
    only if a metric has changed.

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
    rows = _rows_to_predict(card, snapshot)
    if not rows[Split.TEST]:
        raise NotTrainable(f"dataset {card.dataset_id} has no test pictures to evaluate {model_id} on")
    own_session = None
    if spark is None and sum(rows.values()) > SPARK_THRESHOLD:
        spark = own_session = session.start(settings, "evaluate")
    try:
        if spark:
            evaluation = evaluate_parts(card, snapshot, predict_on_spark(spark, settings, card, snapshot))
        else:
            with stderr_to(settings.logs.dir / "tensorflow.out"):
                model = load_model(settings, model_id)
                parts = [
                    predict_rows(model.predict, card, snapshot, split, RowRange(0, count))
                    for split, count in rows.items()
                ]
                evaluation = evaluate_parts(card, snapshot, parts)
        storage = model_cards.artifact_storage(settings, model_id)
        artifacts.write_evaluation(storage, evaluation, snapshot, model_id)
        _update_metrics(settings, card, storage, evaluation)
    finally:
        if own_session:
            own_session.stop()
    return evaluation


def _rows_to_predict(card: ModelCard, snapshot: DatasetSnapshot) -> dict[Split, int]:
    """Number of first rows of each split that are predicted: test, and for embeddings the gallery."""
    gallery = gallery_rows(snapshot) if card.objective == "triplet" else {}
    return {Split.TEST: snapshot.row_count(Split.TEST)} | gallery


def predict_rows(
    predict: Predict, card: ModelCard, snapshot: DatasetSnapshot, split: Split, rows: RowRange, task: int = 0
) -> Tested | Embedded:
    """Predict a range of rows of a split, as a message."""
    pictures = load_rows(snapshot, split, rows, card.side, PIXEL_MEMORY)
    if card.objective == "triplet":
        return messages.pack_embeddings(task, split, embed_all(predict, pictures, card.side))
    return predict_all(predict, pictures, card.side, task)


def evaluate_parts(card: ModelCard, snapshot: DatasetSnapshot, parts: list[Tested | Embedded]) -> Evaluation:
    """Evaluate the predictions of several tasks, given in the order of each split."""
    predictions = [part for part in parts if isinstance(part, Tested)]
    if predictions:
        return evaluate_predictions(card.labels, predictions)
    embedded = [part for part in parts if isinstance(part, Embedded)]
    queries = messages.unpack_embeddings([part for part in embedded if part.split == Split.TEST])
    others = messages.unpack_embeddings([part for part in embedded if part.split != Split.TEST])
    return evaluate_retrieval(card.labels, queries, None if snapshot.split_by_label else others)


def predict_on_spark(
    spark: SparkSession, settings: Settings, card: ModelCard, snapshot: DatasetSnapshot
) -> list[Tested | Embedded]:
    """Predict on Spark, a range of rows per task; results are in the order of each split."""
    files = model_cards.artifact_storage(settings, card.model_id)
    cores = spark.sparkContext.defaultParallelism
    shares = [
        (split, evaluation_rows(count, task, tasks))
        for split, count in _rows_to_predict(card, snapshot).items()
        for tasks in [min(count, max(cores, math.ceil(count / PICTURES_PER_TASK)))]
        for task in range(tasks)
    ]

    def predict(task: int) -> bytes:
        model = load_in_task(card, files)
        return messages.encode(predict_rows(model.predict, card, snapshot, *shares[task], task))

    with job_errors(f"cannot evaluate {card.model_id}"):
        encoded = spark.sparkContext.parallelize(range(len(shares)), len(shares)).map(predict).collect()
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
