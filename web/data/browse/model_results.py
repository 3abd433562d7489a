"""What a model's files say: its card, metrics, learning curves, evaluation, and how far a training is."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from conf.settings import Settings
from lake.errors import StorageError
from lake.storage import Storage
from models.evaluation import artifacts
from models.formats.export import KERAS, SAVED_MODEL, TFLITE, TFLITE_INT8
from models.registry import model_cards
from models.registry.model_cards import ModelCard, State
from models.runs.live_progress import PROGRESS

_PAIRS = 12


@dataclass(frozen=True)
class Epoch:
    """Metrics of an epoch; None where nothing was measured."""

    epoch: int
    loss: float
    accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None


@dataclass(frozen=True)
class Mistake:
    """A test picture with a wrong prediction; `probability` is of the predicted label."""

    image_id: str
    label: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class Pair:
    """Pictures of a label that were taken for another, and their share of the label's pictures."""

    label: str
    predicted: str
    pictures: int
    share: float


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Args:
        doing: in words, such as training; empty before it starts.
        epoch, epochs: of the plan; `epoch` is 0 before the first.
        step, steps: of an epoch; `steps` is 0 before the workers have started.
        images_per_second: of all workers; 0 before the first step.
    """

    doing: str = ""
    epoch: int = 0
    epochs: int = 0
    step: int = 0
    steps: int = 0
    images_per_second: float = 0.0

    @property
    def share(self) -> float:
        """Of all steps, 0 to 1."""
        done = (self.epoch - 1) * self.steps + self.step
        return max(0.0, done / (self.epochs * self.steps)) if self.epochs and self.steps else 0.0


@dataclass(frozen=True)
class ModelResults:
    """A model with its results.

    Args:
        card: of the model.
        metrics: numbers of metrics.json; empty before training ends.
        history: of the finished epochs.
        evaluation: on the test split, as in evaluation.json; empty before training ends.
        progress: of a training that is running.
        files: names of the formats that can be downloaded.
    """

    card: ModelCard
    metrics: Mapping[str, float] = field(default_factory=dict)
    history: Sequence[Epoch] = ()
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    progress: Progress = Progress()
    files: Sequence[str] = ()

    @property
    def accuracy(self) -> float | None:
        """On the test split; None if it was not measured."""
        return self.metrics.get(artifacts.accuracy_metric(self.card.objective))

    @property
    def mistakes(self) -> list[Mistake]:
        """Wrong predictions, the most confident first."""
        return [
            Mistake(each["image_id"], each["label"], each["predicted"], each["probability"])
            for each in self.evaluation.get("mistakes", ())
        ]

    @property
    def pairs(self) -> list[Pair]:
        """Labels that are most often taken for another."""
        labels, matrix = self.evaluation.get("labels", ()), self.evaluation.get("confusion", ())
        found = [
            Pair(labels[row], labels[column], number, number / sum(numbers))
            for row, numbers in enumerate(matrix)
            for column, number in enumerate(numbers)
            if number and row != column
        ]
        return sorted(found, key=lambda each: (-each.pictures, -each.share, each.label))[:_PAIRS]


FORMATS = {
    "tflite": (TFLITE, "TFLite, for phones"),
    "tflite-int8": (TFLITE_INT8, "TFLite with 8-bit weights"),
    "keras": (KERAS, "Keras"),
    "savedmodel": (SAVED_MODEL, "TensorFlow SavedModel, as a tar"),
    "labels": (artifacts.LABELS, "Label names"),
}
"""What can be downloaded: name in the address, file or folder of the model, and words."""


def load(settings: Settings, model_id: str) -> ModelResults:
    """Load a model's results, whatever its state.

    Raises:
        UnknownModel: no model has this id.
    """
    card = model_cards.any_card(settings, model_id)
    files = model_cards.artifact_storage(settings, model_id)
    metrics = {
        name: float(value)
        for name, value in _json(files, artifacts.METRICS).items()
        if isinstance(value, int | float)
    }
    existing = files.list_files() if card.state in (State.READY, State.RETIRED) else []
    return ModelResults(
        card,
        metrics,
        _history(files),
        _json(files, artifacts.EVALUATION),
        _progress(files) if card.state is State.TRAINING else Progress(),
        [
            key
            for key, (name, _) in FORMATS.items()
            if any(each == name or each.startswith(f"{name}/") for each in existing)
        ],
    )


def _json(files: Storage, name: str) -> dict[str, Any]:
    try:
        return dict(files.read_json(name))
    except (StorageError, ValueError):
        return {}


def _progress(files: Storage) -> Progress:
    """What the training's driver wrote; what it has not written yet is as before its start."""
    known = _json(files, PROGRESS)
    return Progress(**{each.name: known[each.name] for each in fields(Progress) if each.name in known})


def _history(files: Storage) -> list[Epoch]:
    try:
        rows = list(csv.DictReader(io.StringIO(files.read(artifacts.HISTORY).decode())))
    except (StorageError, ValueError):
        return []
    return [
        Epoch(
            int(row["epoch"]),
            float(row["loss"]),
            float(row["accuracy"]),
            float(row["validation_loss"]) if row.get("validation_loss") else None,
            float(row["validation_accuracy"]) if row.get("validation_accuracy") else None,
        )
        for row in rows
    ]
