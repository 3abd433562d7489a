"""Measuring a finished model again."""

import numpy as np

from conf.settings import Settings
from lake import session
from lake.snapshot import Split
from models import artifacts, registry
from models.errors import NotTrainable
from models.evaluation import Evaluation, answers, evaluate
from models.inputs import Rows, read
from models.native import stderr_to
from models.prediction import load
from models.run import load_snapshot

READ = 4096  # pictures decoded at once


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
    image_ids: list[str] = []
    columns = []
    with stderr_to(settings.logs.dir / "tensorflow.out"):
        model = load(settings, model_id)
        for first in range(0, rows, READ):
            pictures = read(snapshot, Split.TEST, Rows(first, min(first + READ, rows)), card.side)
            image_ids += pictures.image_ids
            columns.append((pictures.labels, *answers(model.keras, pictures, card.side)))
    evaluation = evaluate(
        card.labels, image_ids, *(np.concatenate(column) for column in zip(*columns, strict=True))
    )
    storage = registry.artifacts(settings, model_id)
    artifacts.write_evaluation(storage, evaluation, model_id)
    _renew(settings, model_id, storage.read_json(artifacts.METRICS), evaluation)
    return evaluation


def _renew(settings: Settings, model_id: str, metrics: dict[str, object], evaluation: Evaluation) -> None:
    if metrics.get("test_accuracy") == evaluation.accuracy:
        return
    renewed = metrics | {"test_accuracy": evaluation.accuracy}
    figures = {name: value for name, value in renewed.items() if isinstance(value, float)}
    registry.artifacts(settings, model_id).write_json(artifacts.METRICS, renewed)
    spark = session.start(settings, "evaluate")
    registry.remeasure(spark, settings.lake, model_id, figures)
    spark.stop()
