"""Measuring a finished model again."""

import numpy as np

from conf.settings import Settings
from lake import session
from lake.snapshot import Snapshot, Split
from models import artifacts, registry
from models.errors import NotTrainable
from models.evaluation import Evaluation, answers, embeddings, evaluate, evaluate_retrieval
from models.inputs import Rows, read
from models.native import stderr_to
from models.prediction import LoadedModel, load
from models.registry import Card
from models.run import load_snapshot
from models.spool import share

READ = 4096  # pictures decoded at once
MEMORY = 2**30  # bytes of pixels held at once where all pictures are needed


def evaluate_model(settings: Settings, model_id: str) -> Evaluation:
    """Measure a model on its dataset's test split, in this process, and renew its evaluation files.

    The row in the `models` table changes (which takes Spark) only if the accuracy is another than before.

    Raises:
        UnknownModel, UnknownDataset: one of them is not there.
        NotTrainable: the dataset has no test pictures.
    """
    card = registry.card(settings, model_id)
    snapshot = load_snapshot(settings, card.dataset_id)
    rows = snapshot.rows(Split.TEST)
    if not rows:
        raise NotTrainable(f"dataset {card.dataset_id} has no test pictures to measure {model_id} on")
    with stderr_to(settings.logs.dir / "tensorflow.out"):
        model = load(settings, model_id)
        if card.objective == "triplet":
            found = share(snapshot, Split.TEST, Rows(0, rows), card.side, MEMORY)
            evaluation = evaluate_retrieval(card.labels, embeddings(model.keras, found, card.side))
        else:
            evaluation = _answered(model, snapshot, rows)
    storage = registry.artifacts(settings, model_id)
    artifacts.write_evaluation(storage, evaluation, model_id)
    _renew(settings, card, storage.read_json(artifacts.METRICS), evaluation)
    return evaluation


def _answered(model: LoadedModel, snapshot: Snapshot, rows: int) -> Evaluation:
    card = model.card
    image_ids: list[str] = []
    columns = []
    for first in range(0, rows, READ):
        pictures = read(snapshot, Split.TEST, Rows(first, min(first + READ, rows)), card.side)
        image_ids += pictures.image_ids
        columns.append((pictures.labels, *answers(model.keras, pictures, card.side)))
    return evaluate(
        card.labels, image_ids, *(np.concatenate(column) for column in zip(*columns, strict=True))
    )


def _renew(settings: Settings, card: Card, metrics: dict[str, object], evaluation: Evaluation) -> None:
    name = artifacts.accuracy_of(card.objective)
    if metrics.get(name) == evaluation.accuracy:
        return
    renewed = metrics | {name: evaluation.accuracy}
    figures = {name: value for name, value in renewed.items() if isinstance(value, float)}
    registry.artifacts(settings, card.model_id).write_json(artifacts.METRICS, renewed)
    spark = session.start(settings, "evaluate")
    registry.remeasure(spark, settings.lake, card.model_id, figures)
    spark.stop()
