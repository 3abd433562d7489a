"""A trained model on the page: its training, plots and mistakes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import SparkSession

from conf.sections import Lake
from conf.settings import Settings
from models.evaluation import artifacts
from models.inference import catalogue
from models.registry import model_cards
from models.runs.time_shares import TimeShares
from web.report.picture import Picture, load_thumbnails

_MISTAKES = 24


@dataclass(frozen=True)
class TrainingSummary:
    """A trained model on the page.

    Args:
        model_id, architecture: of the model.
        workers, epochs: of the training run.
        seconds: duration of the training run.
        shares: where its time went; None if it is not known.
        test_accuracy: on the test split, 0 to 1; None if that is empty.
        curves, confusion: PNG bytes.
        mistakes: misclassified test images.
    """

    model_id: str
    architecture: str
    workers: int
    epochs: int
    seconds: float
    shares: TimeShares | None
    test_accuracy: float | None
    curves: bytes
    confusion: bytes
    mistakes: list[Picture]


def load(spark: SparkSession, settings: Settings, model_id: str) -> TrainingSummary:
    """Read the summary of a ready model from its files.

    Raises:
        UnknownModel, UnusableModel: no model has this id, or it is not ready.
        StorageError: one of its files cannot be read.
    """
    card = model_cards.ready_card(settings, model_id)
    entry, files = catalogue.load_entry(settings, model_id), model_cards.artifact_storage(settings, model_id)
    evaluation: dict[str, Any] = files.read_json(artifacts.EVALUATION)
    mistakes = [
        (each["image_id"], each["label"], each["predicted"], each["probability"])
        for each in evaluation["mistakes"]
    ]
    return TrainingSummary(
        model_id=model_id,
        architecture=card.architecture,
        workers=card.workers,
        epochs=len(entry.history),
        seconds=card.seconds or 0.0,
        shares=TimeShares.from_metrics(entry.figures),
        test_accuracy=card.accuracy,
        curves=files.read(artifacts.CURVES),
        confusion=files.read(artifacts.CONFUSION),
        mistakes=load_mistakes(spark, settings.lake, mistakes),
    )


def load_mistakes(
    spark: SparkSession, lake: Lake, mistakes: Sequence[tuple[str, str, str, float]]
) -> list[Picture]:
    """Pictures of the misclassified images with the highest probabilities.

    Args:
        mistakes: image_id, true label, predicted label and its probability, highest first.
    """
    shown = mistakes[:_MISTAKES]
    thumbnails = load_thumbnails(spark, lake, [image_id for image_id, *_ in shown])
    return [
        Picture(thumbnails.get(image_id), "", f"{true}, predicted {predicted} ({probability:.0%})")
        for image_id, true, predicted, probability in shown
    ]
