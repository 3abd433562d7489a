"""Measuring a finished model again, spread over Spark's executors where the test split is large."""

import math

from pyspark.sql import SparkSession

from conf.settings import Settings
from lake.snapshot import Snapshot, Split
from lake.spark import session
from lake.storage import Storage
from models import messages
from models.errors import NotTrainable
from models.evaluation import artifacts
from models.evaluation.metrics import (
    Answer,
    Evaluation,
    answers,
    embeddings,
    evaluate_retrieval,
    evaluate_shares,
)
from models.inference.prediction import load, load_in_task
from models.messages import Embedded, Tested
from models.native_output import stderr_to
from models.pictures.disk_cache import share
from models.pictures.inputs import Rows, whole_share
from models.registry import model_cards, model_rows
from models.registry.model_cards import ModelCard
from models.runs.train import load_snapshot

READ = 4096  # pictures of a task at most
ON_SPARK = 2048  # test pictures from which executors answer; starting them takes longer than so many
MEMORY = 2**30  # bytes of pixels held at once
SAME = 1e-6  # by which figures may differ: batches of another size are summed in another order


def evaluate_model(settings: Settings, model_id: str, spark: SparkSession | None = None) -> Evaluation:
    """Measure a model on its dataset's test split and renew its evaluation files.

    Few pictures are answered in this process, more than `ON_SPARK` in tasks on Spark's executors. The row in
    the `models` table changes only if a figure is another than before.

    Args:
        settings: of the hub.
        model_id: of the model.
        spark: a session to use whatever the number of pictures; made and stopped here as needed if None.

    Raises:
        UnknownModel, UnusableModel, UnknownDataset: the model is not there or not ready, or its dataset gone.
        NotTrainable: the dataset has no test pictures.
    """
    card = model_cards.card(settings, model_id)
    snapshot = load_snapshot(settings, card.dataset_id)
    rows = snapshot.rows(Split.TEST)
    if not rows:
        raise NotTrainable(f"dataset {card.dataset_id} has no test pictures to measure {model_id} on")
    own = None
    if spark is None and rows > ON_SPARK:
        spark = own = session.start(settings, "evaluate")
    try:
        if spark:
            evaluation = judged(card, on_spark(spark, settings, card, snapshot))
        else:
            with stderr_to(settings.logs.dir / "tensorflow.out"):
                model = load(settings, model_id)
                evaluation = judged(card, [answered(model.answer, card, snapshot, Rows(0, rows))])
        storage = model_cards.artifacts(settings, model_id)
        artifacts.write_evaluation(storage, evaluation, snapshot, model_id)
        _renew(settings, card, storage, evaluation)
    finally:
        if own:
            own.stop()
    return evaluation


def answered(
    answer: Answer, card: ModelCard, snapshot: Snapshot, rows: Rows, number: int = 0
) -> Tested | Embedded:
    """What a model answers to rows of the test split."""
    pictures = share(snapshot, Split.TEST, rows, card.side, MEMORY)
    if card.objective == "triplet":
        return messages.packed(number, Split.TEST, embeddings(answer, pictures, card.side))
    return answers(answer, pictures, card.side, number)


def judged(card: ModelCard, shares: list[Tested | Embedded]) -> Evaluation:
    """The evaluation of what several tasks answered, in the order of the split."""
    tested = [part for part in shares if isinstance(part, Tested)]
    if tested:
        return evaluate_shares(card.labels, tested)
    vectors = messages.unpacked([part for part in shares if isinstance(part, Embedded)])
    return evaluate_retrieval(card.labels, vectors)


def on_spark(
    spark: SparkSession, settings: Settings, card: ModelCard, snapshot: Snapshot
) -> list[Tested | Embedded]:
    """The answers to the test split, each task taking a range of its rows; in the order of the split."""
    rows, files = snapshot.rows(Split.TEST), model_cards.artifacts(settings, card.model_id)
    tasks = min(rows, max(spark.sparkContext.defaultParallelism, math.ceil(rows / READ)))

    def answer(number: int) -> bytes:
        model = load_in_task(card, files)
        return messages.encode(
            answered(model.answer, card, snapshot, whole_share(rows, number, tasks), number)
        )

    encoded = spark.sparkContext.parallelize(range(tasks), tasks).map(answer).collect()
    decoded = [messages.decode(data) for data in encoded]
    return [part for part in decoded if isinstance(part, Tested | Embedded)]


def _renew(settings: Settings, card: ModelCard, storage: Storage, evaluation: Evaluation) -> None:
    metrics = storage.read_json(artifacts.METRICS)
    found = artifacts.figures(evaluation, card.objective)
    if all(_same(metrics.get(name), value) for name, value in found.items()):
        return
    renewed = metrics | found
    storage.write_json(artifacts.METRICS, renewed)
    model_cards.remeasure(settings, card.model_id, evaluation.accuracy)
    row = {name: value for name, value in renewed.items() if isinstance(value, float)}
    model_rows.remeasure(settings, card.model_id, row)


def _same(old: object, new: float | None) -> bool:
    if isinstance(old, int | float) and new is not None:
        return math.isclose(old, new, abs_tol=SAME)
    return old is new
