"""Prediction: label picture files, few in this process, many on Spark."""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyspark import Accumulator, TaskContext
from pyspark.sql import SparkSession

from conf.settings import Settings
from lake.job_failures import job_errors
from lake.native_output import stderr_to
from lake.spark import python_workers, session
from lake.storage import Storage
from models import tensorflow_import
from models.errors import UnreadablePicture
from models.evaluation.metrics import Predict
from models.inference.picture_files import find_pictures
from models.nets.devices import prediction_batch, take_devices
from models.pictures import inputs
from models.pictures.cores import spread
from models.registry import model_cards
from models.registry.model_cards import ModelCard

SPARK_THRESHOLD = 64  # use Spark for more pictures than this


@dataclass(frozen=True)
class Prediction:
    """The predicted label of a picture, or the error.

    Args:
        path: of the picture.
        label: the most probable one; None if the picture cannot be read.
        probability: of the label, 0–1; None if the picture cannot be read.
        error: why the picture cannot be read; None on success.
    """

    path: str
    label: str | None
    probability: float | None
    error: str | None


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory.

    Args:
        card: model card.
        keras: the Keras model.
        predict: maps float32 (n, side, side, 3), RGB 0–255, to probabilities or embeddings.
    """

    card: ModelCard
    keras: Any
    predict: Predict


def load_model(settings: Settings, model_id: str) -> LoadedModel:
    """Load a ready model; needs no Spark.

    Raises:
        UnknownModel, UnusableModel: no model has this id, or it is not ready.
        StorageError: its files cannot be read.
    """
    card = model_cards.ready_card(settings, model_id)
    model = _load_keras(model_cards.artifact_storage(settings, model_id))
    return LoadedModel(card, model, model.predict_on_batch)


@lru_cache(maxsize=1)
def _load_keras(artifacts: Storage) -> Any:
    """Load the Keras model, once per process: a Spark Python worker asks in every task."""
    tensorflow_import.load()
    import keras

    from models.formats.export import KERAS

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / KERAS
        file.write_bytes(artifacts.read(KERAS))
        return keras.models.load_model(file, compile=False)


@lru_cache(maxsize=1)
def _load_frozen(artifacts: Storage) -> Predict:
    """The frozen graph: 5 to 9 % faster; freezing takes one or two seconds, too long for few pictures."""
    import tensorflow as tf

    from models.formats.export import freeze
    from models.formats.serving_signature import trace

    model = _load_keras(artifacts)
    spec = tf.TensorSpec((None, *model.input.shape[1:]), tf.float32)
    graph = freeze(trace(partial(model, training=False), spec))

    return lambda images: graph(tf.constant(images))[0].numpy()


def load_in_task(
    card: ModelCard, artifacts: Storage, loads: Accumulator[int] | None = None, use_frozen: bool = True
) -> LoadedModel:
    """Load a model in a Spark task, or reuse the one of an earlier task in the same Python process.

    Args:
        card: of the model.
        artifacts: its files.
        loads: counts how often the model was really loaded.
        use_frozen: use the frozen graph; pays off for many pictures.
    """
    limit_threads_to_task()
    before = _load_keras.cache_info().misses
    model = _load_keras(artifacts)
    if loads is not None:
        loads += _load_keras.cache_info().misses - before
    loaded = LoadedModel(card, model, _load_frozen(artifacts) if use_frozen else model.predict_on_batch)
    python_workers.freeze_gc()
    return loaded


@lru_cache(maxsize=1)
def limit_threads_to_task() -> None:
    """Limit TensorFlow to the cores and GPUs of the Spark task (default: all); once per process."""
    task = TaskContext.get()
    gpus = task.resources().get("gpu") if task else None
    take_devices(task.cpus() if task else 1, gpus.addresses if gpus else [])


def predict_paths(settings: Settings, model_id: str, paths: Sequence[str]) -> list[Prediction]:
    """Label the pictures in files and folders; more than `SPARK_THRESHOLD` are labelled on Spark.

    Raises:
        UnknownModel, UnusableModel: no model has this id, or it is not ready.
        UsageError: a path does not exist, or the model returns embeddings.
    """
    files = find_pictures(paths)
    card = model_cards.classifier_card(settings, model_id)
    if len(files) > SPARK_THRESHOLD:
        spark = session.start(settings, "predict")
        try:
            return predict_on_spark(spark, settings, card, files)
        finally:
            session.stop(spark)
    with stderr_to(settings.logs.dir / "tensorflow.out"):
        return predict_files(load_model(settings, model_id), files)


def predict_files(model: LoadedModel, files: Sequence[str]) -> list[Prediction]:
    """Label picture files, in the given order; a picture that cannot be read gets an error instead."""
    predictions: list[Prediction] = []
    size = prediction_batch(model.card.side)
    for first in range(0, len(files), size):
        batch = files[first : first + size]
        predictions += label_batch(model, batch, [Path(file).read_bytes for file in batch])
    return predictions


def label_batch(
    model: LoadedModel, names: Sequence[str], contents: Sequence[Callable[[], bytes]]
) -> Iterator[Prediction]:
    """Label at most as many pictures as `prediction_batch` says; they are decoded on all cores of the task.

    Args:
        model: to predict with.
        names: of the pictures, for the predictions.
        contents: functions that return the encoded pictures; an exception becomes the picture's error.
    """
    side = model.card.side
    # One shape for all batches: TensorFlow retraces the model for every new shape.
    batch = 1 if len(names) == 1 else prediction_batch(side)
    images = np.zeros((batch, side, side, 3), np.float32)
    errors: list[str | None] = [None] * len(names)

    def decode(row: int) -> None:
        try:
            images[row] = decode_picture(contents[row], names[row], side)
        except UnreadablePicture as error:
            errors[row] = str(error)

    for _ in spread(decode, range(len(names))):
        pass  # each has written its row
    outputs = np.asarray(model.predict(images))
    for name, cause, probabilities in zip(names, errors, outputs, strict=False):
        if cause:
            yield Prediction(name, None, None, cause)
        else:
            best = int(probabilities.argmax())
            yield Prediction(name, model.card.labels[best], float(probabilities[best]), None)


def decode_picture(content: Callable[[], bytes], name: str, side: int) -> Any:
    """Read and decode a picture into the input of a model, uint8 (side, side, 3).

    Raises:
        UnreadablePicture: it cannot be read or decoded.
    """
    try:
        return inputs.decode_centre_crop(content(), side)
    except Exception as error:  # Pillow's decoders raise almost any exception on hostile bytes
        cause = " ".join(str(error).split()) or type(error).__name__
        raise UnreadablePicture(f"cannot read the picture: {cause.replace(name, 'file')}") from None


def predict_on_spark(
    spark: SparkSession, settings: Settings, card: ModelCard, files: list[str]
) -> list[Prediction]:
    """Label picture files on Spark; every executor must be able to read them."""
    artifacts = model_cards.artifact_storage(settings, card.model_id)

    def label_frames(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        model = load_in_task(card, artifacts, use_frozen=False)
        for frame in frames:
            rows = predict_files(model, [os.fsdecode(path) for path in frame["path"]])
            records = [{"number": n, **asdict(row)} for n, row in zip(frame["number"], rows, strict=True)]
            yield pd.DataFrame(records, columns=["number", "label", "probability", "error"])

    # As bytes: a path need not be UTF-8, but strings of Spark are.
    paths = [(number, os.fsencode(file)) for number, file in enumerate(files)]
    numbered = spark.createDataFrame(paths, "number long, path binary")
    schema = "number long, label string, probability double, error string"
    predicted = numbered.repartition(spark.sparkContext.defaultParallelism).mapInPandas(label_frames, schema)
    with job_errors("cannot label the pictures"):
        rows = sorted(predicted.collect(), key=lambda row: row.number)
    return [Prediction(files[row.number], row.label, row.probability, row.error) for row in rows]
