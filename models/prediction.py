"""Labels for pictures: a few in this process, many on Spark."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import UnidentifiedImageError
from pyspark.sql import SparkSession

from conf.errors import UsageError
from conf.settings import Settings
from lake import session
from lake.storage import Storage
from models import inputs, registry
from models.errors import UnreadablePicture
from models.native import stderr_to
from models.registry import Card

ON_SPARK = 64  # more pictures than this go to Spark
BATCH = 64
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}  # what is taken from folders


@dataclass(frozen=True)
class Prediction:
    """A picture's label and how probable it is, or why there is none.

    Args:
        path: of the picture.
        label: the likeliest; None if the picture cannot be read.
        probability: 0–1; None likewise.
        error: None if all went well.
    """

    path: str
    label: str | None
    probability: float | None
    error: str | None


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory: Keras' model and its card."""

    card: Card
    keras: Any


def load(settings: Settings, model_id: str) -> LoadedModel:
    """Load a ready model; needs no Spark.

    Raises:
        UnknownModel: there is none of this id.
        StorageError: its files cannot be read.
    """
    card = registry.card(settings, model_id)
    return LoadedModel(card, _keras(registry.artifacts(settings, model_id)))


@lru_cache(maxsize=1)
def _keras(artifacts: Storage) -> Any:
    """Loaded once in a process: a Spark worker asks for every batch."""
    import keras

    from models.export import KERAS

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / KERAS
        file.write_bytes(artifacts.read(KERAS))
        return keras.models.load_model(file, compile=False)


def pictures(paths: Sequence[str]) -> list[str]:
    """The files that the paths mean: files as they are, folders searched to the bottom, sorted.

    Raises:
        UsageError: a path is not there, or a folder has no picture.
    """
    found: list[str] = []
    for path in paths:
        place = Path(path)
        if place.is_dir():
            below = sorted(
                str(file) for file in place.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file()
            )
            if not below:
                raise UsageError(f"{path} has no picture ({', '.join(sorted(SUFFIXES))})")
            found += below
        elif place.exists():
            found.append(path)
        else:
            raise UsageError(f"{path} is not there")
    return found


def predict_paths(settings: Settings, model_id: str, paths: Sequence[str]) -> list[Prediction]:
    """Label what the paths mean: a few pictures in this process, more than `ON_SPARK` on Spark.

    Raises:
        UnknownModel: there is none of this id.
        UsageError: a path is not there, or the model answers embeddings.
    """
    files = pictures(paths)
    card = registry.card(settings, model_id)
    if card.objective == "triplet":
        raise UsageError(f"model {model_id} answers embeddings, not labels: name one trained for labels")
    if len(files) > ON_SPARK:
        spark = session.start(settings, "predict")
        try:
            return predict_on_spark(spark, settings, card, files)
        finally:
            spark.stop()
    with stderr_to(settings.logs.dir / "tensorflow.out"):
        return predict(load(settings, model_id), files)


def predict(model: LoadedModel, files: Sequence[str]) -> list[Prediction]:
    """Label the pictures in files, in their order. A picture that cannot be read has an error instead."""
    predictions: list[Prediction] = []
    for first in range(0, len(files), BATCH):
        predictions += _predict_batch(model, files[first : first + BATCH])
    return predictions


def _predict_batch(model: LoadedModel, files: Sequence[str]) -> Iterator[Prediction]:
    side = model.card.side
    # One shape for every batch: TensorFlow would trace the model anew for each.
    images = np.zeros((len(files) if len(files) == 1 else BATCH, side, side, 3), np.float32)
    errors: list[str | None] = []
    for row, file in enumerate(files):
        try:
            images[row] = picture(file, side)
            errors.append(None)
        except UnreadablePicture as error:
            errors.append(str(error))
    answers = np.asarray(model.keras.predict_on_batch(images))
    for file, cause, answer in zip(files, errors, answers, strict=False):
        if cause:
            yield Prediction(file, None, None, cause)
        else:
            best = int(answer.argmax())
            yield Prediction(file, model.card.labels[best], float(answer[best]), None)


def picture(file: str, side: int) -> Any:
    """The pixels that a model sees of a file, uint8 (side, side, 3).

    Raises:
        UnreadablePicture: the file cannot be read or decoded.
    """
    try:
        return inputs.square(Path(file).read_bytes(), side)
    except UnidentifiedImageError:
        raise UnreadablePicture("cannot read the picture: its format is not known") from None
    except Exception as error:  # Pillow's decoders raise nearly anything on hostile bytes
        cause = " ".join(str(error).split()) or type(error).__name__
        raise UnreadablePicture(f"cannot read the picture: {cause.replace(file, 'file')}") from None


def predict_on_spark(
    spark: SparkSession, settings: Settings, card: Card, files: list[str]
) -> list[Prediction]:
    """Label the pictures in files that every executor can read; each Python worker loads the model once."""
    artifacts = registry.artifacts(settings, card.model_id)

    def label(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        model = LoadedModel(card, _keras(artifacts))
        for frame in frames:
            rows = predict(model, frame["path"].tolist())
            named = [
                {"number": number, **asdict(row)} for number, row in zip(frame["number"], rows, strict=True)
            ]
            yield pd.DataFrame(named, columns=["number", "path", "label", "probability", "error"])

    numbered = spark.createDataFrame(list(enumerate(files)), "number long, path string")
    schema = "number long, path string, label string, probability double, error string"
    labelled = numbered.repartition(spark.sparkContext.defaultParallelism).mapInPandas(label, schema)
    rows = sorted(labelled.collect(), key=lambda row: row.number)
    return [Prediction(row.path, row.label, row.probability, row.error) for row in rows]
