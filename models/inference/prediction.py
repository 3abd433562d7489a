"""Labels for pictures: a few in this process, many on Spark."""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import UnidentifiedImageError
from pyspark import Accumulator
from pyspark.sql import SparkSession

from conf.errors import UsageError
from conf.settings import Settings
from lake.spark import python_workers, session
from lake.storage import Storage
from models import tensorflow_import
from models.errors import UnreadablePicture
from models.evaluation.metrics import Answer
from models.native_output import stderr_to
from models.pictures import inputs
from models.registry import model_cards
from models.registry.model_cards import ModelCard

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
    """A model in memory.

    Args:
        card: of it.
        keras: Keras' model.
        answer: from float32 (n, side, side, 3), RGB 0–255, to what the model says of each.
    """

    card: ModelCard
    keras: Any
    answer: Answer


def load(settings: Settings, model_id: str) -> LoadedModel:
    """Load a ready model; needs no Spark.

    Raises:
        UnknownModel: there is none of this id.
        StorageError: its files cannot be read.
    """
    card = model_cards.card(settings, model_id)
    model = _keras(model_cards.artifacts(settings, model_id))
    return LoadedModel(card, model, model.predict_on_batch)


@lru_cache(maxsize=1)
def _keras(artifacts: Storage) -> Any:
    """Loaded once in a process: a Spark worker asks for every task."""
    tensorflow_import.load()
    import keras

    from models.formats.export import KERAS

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / KERAS
        file.write_bytes(artifacts.read(KERAS))
        return keras.models.load_model(file, compile=False)


@lru_cache(maxsize=1)
def _frozen(artifacts: Storage) -> Answer:
    """The frozen model: 5 to 9 % faster. Freezing takes a second or two, which few pictures do not earn."""
    import tensorflow as tf

    from models.formats.export import frozen
    from models.formats.serving_signature import traced

    model = _keras(artifacts)
    spec = tf.TensorSpec((None, *model.input.shape[1:]), tf.float32)
    graph = frozen(traced(partial(model, training=False), spec))

    def answer(images: Any) -> Any:
        return graph(tf.constant(images))[0].numpy()

    return answer


def load_in_task(
    card: ModelCard, artifacts: Storage, loads: Accumulator[int] | None = None, many: bool = True
) -> LoadedModel:
    """A model in a Spark task, which loads it only if no task before did so in the same Python process.

    Args:
        card: of the model.
        artifacts: its files.
        loads: counts the times that it was really loaded.
        many: pictures are to be answered, so that making the model faster pays.
    """
    take_cores_of_task()
    before = _keras.cache_info().misses
    model = _keras(artifacts)
    if loads is not None:
        loads += _keras.cache_info().misses - before
    loaded = LoadedModel(card, model, _frozen(artifacts) if many else model.predict_on_batch)
    python_workers.freeze_gc()
    return loaded


@lru_cache(maxsize=1)
def take_cores_of_task() -> None:
    """Let TensorFlow use the cores that Spark gave the task, not those of the machine; once in a process."""
    import tensorflow as tf
    from pyspark import TaskContext

    task = TaskContext.get()
    cores = task.cpus() if task else 1
    tf.config.threading.set_intra_op_parallelism_threads(cores)
    tf.config.threading.set_inter_op_parallelism_threads(cores)


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
    card = model_cards.card_for_labels(settings, model_id)
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
        some = files[first : first + BATCH]
        predictions += label(model, some, [partial(_content, file) for file in some])
    return predictions


def label(
    model: LoadedModel, names: Sequence[str], contents: Sequence[Callable[[], bytes]]
) -> Iterator[Prediction]:
    """Label `BATCH` pictures at most.

    Args:
        model: to ask.
        names: of the pictures, for the predictions.
        contents: what gives each encoded picture; what it raises becomes the picture's error.
    """
    side = model.card.side
    # One shape for every batch: TensorFlow would trace the model anew for each.
    images = np.zeros((len(names) if len(names) == 1 else BATCH, side, side, 3), np.float32)
    errors: list[str | None] = []
    for row, (name, content) in enumerate(zip(names, contents, strict=True)):
        try:
            images[row] = picture(content, name, side)
            errors.append(None)
        except UnreadablePicture as error:
            errors.append(str(error))
    answers = np.asarray(model.answer(images))
    for name, cause, answer in zip(names, errors, answers, strict=False):
        if cause:
            yield Prediction(name, None, None, cause)
        else:
            best = int(answer.argmax())
            yield Prediction(name, model.card.labels[best], float(answer[best]), None)


def _content(file: str) -> bytes:
    return Path(file).read_bytes()


def picture(content: Callable[[], bytes], name: str, side: int) -> Any:
    """The pixels that a model sees of an encoded picture, uint8 (side, side, 3).

    Raises:
        UnreadablePicture: it cannot be read or decoded.
    """
    try:
        return inputs.square(content(), side)
    except UnidentifiedImageError:
        raise UnreadablePicture("cannot read the picture: its format is not known") from None
    except Exception as error:  # Pillow's decoders raise nearly anything on hostile bytes
        cause = " ".join(str(error).split()) or type(error).__name__
        raise UnreadablePicture(f"cannot read the picture: {cause.replace(name, 'file')}") from None


def predict_on_spark(
    spark: SparkSession, settings: Settings, card: ModelCard, files: list[str]
) -> list[Prediction]:
    """Label the pictures in files that every executor can read; each Python worker loads the model once."""
    artifacts = model_cards.artifacts(settings, card.model_id)

    def labelled(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        model = load_in_task(card, artifacts, many=False)
        for frame in frames:
            rows = predict(model, [os.fsdecode(path) for path in frame["path"]])
            named = [
                {"number": number, **asdict(row)} for number, row in zip(frame["number"], rows, strict=True)
            ]
            yield pd.DataFrame(named, columns=["number", "label", "probability", "error"])

    # As bytes: a path need not be UTF-8, and strings of Spark are.
    paths = [(number, os.fsencode(file)) for number, file in enumerate(files)]
    numbered = spark.createDataFrame(paths, "number long, path binary")
    schema = "number long, label string, probability double, error string"
    spread = numbered.repartition(spark.sparkContext.defaultParallelism).mapInPandas(labelled, schema)
    rows = sorted(spread.collect(), key=lambda row: row.number)
    return [Prediction(files[row.number], row.label, row.probability, row.error) for row in rows]
