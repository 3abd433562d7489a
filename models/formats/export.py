"""A trained model in the formats that others load. Runs where TensorFlow is loaded already."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from lake.snapshot import Snapshot, Split
from lake.storage import Storage
from models.formats.tflite_metadata import Description, described
from models.pictures import inputs

if TYPE_CHECKING:
    from models.formats.serving_signature import Served

KERAS, SAVED_MODEL, TFLITE, TFLITE_INT8 = "model.keras", "saved_model", "model.tflite", "model-int8.tflite"
CALIBRATED_ON = {32: 100, 224: 32}  # training pictures by side; each takes the converter 5 ms or 0.15 s


@dataclass(frozen=True)
class Exported:
    """A finished model and how it is described to those who load it.

    Args:
        keras: a model from RGB 0–255, float (batch, side, side, 3), outside any distribution strategy.
        name: its id.
        labels: in the order of its probabilities; none where it answers embeddings.
    """

    keras: Any
    name: str
    labels: tuple[str, ...]

    @property
    def side(self) -> int:
        """Of the pictures it takes (pixels)."""
        return int(self.keras.input.shape[1])

    @cached_property
    def served(self) -> "Served":
        """Its functions; tracing them is half of what writing takes, so all formats are made of one trace."""
        from models.formats.serving_signature import Served

        return Served(self.keras, self.labels)

    def answer(self, rgb: NDArray[np.float32]) -> NDArray[np.float32]:
        """What it answers to pictures, float (batch, side, side, 3): (batch, classes) or embeddings."""
        import tensorflow as tf

        (found,) = self.served.pixels(tf.constant(rgb)).values()
        answers: NDArray[np.float32] = found.numpy()
        return answers

    def describe(self) -> Description:
        """What its TFLite files say."""
        does = "Labels a picture." if self.labels else "Turns a picture into a vector."
        return Description(self.name, f"{does} {self.keras.name}.", self.name, self.side, self.labels)


def write(model: Exported, artifacts: Storage) -> None:
    """Write a model as Keras file and SavedModel.

    The Keras file takes RGB 0–255 as float (batch, side, side, 3) and answers probabilities (batch, classes);
    the SavedModel's signatures are those of `Served`, `serve` being the default.

    Args:
        model: to write.
        artifacts: rooted where the files go.
    """
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder)
        model.keras.save(local / KERAS)
        with _code_removed():
            model.served.save(local / SAVED_MODEL)
        artifacts.upload(local)


@contextmanager
def _code_removed() -> Iterator[None]:
    """Remove what AutoGraph leaves in the folder for temporary files.

    It does so itself only where a process ends as Python does, and Spark's workers do not.
    """
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = before


def write_tflite(model: Exported, artifacts: Storage, pictures: NDArray[np.uint8]) -> None:
    """Write a model as TFLite, once as it is and once with 8-bit integers for weights and activations.

    Both answer float probabilities (batch, classes) to RGB 0–255 (batch, side, side, 3): the one takes float,
    the other uint8, as cameras have it.
    Source: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference".

    Args:
        model: to write.
        artifacts: rooted where the file goes.
        pictures: uint8 (n, side, side, 3) of the training split, for the ranges of activations.
    """
    import tensorflow as tf

    graph = frozen(model.served.pixels)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph])
    artifacts.write(TFLITE, described(converter.convert(), model.describe()))

    def shown() -> Iterator[list[NDArray[np.float32]]]:
        for picture in pictures:
            yield [picture[None].astype(np.float32)]

    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = shown
    # What has no integer kernel (an embedding's last layer) stays float.
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
        tf.lite.OpsSet.TFLITE_BUILTINS,
    ]
    converter.inference_input_type = tf.uint8
    artifacts.write(TFLITE_INT8, described(converter.convert(), model.describe()))


def calibration_pictures(snapshot: Snapshot, side: int) -> NDArray[np.uint8]:
    """The first pictures of the training split, which is shuffled: uint8 (n, side, side, 3)."""
    rows = min(snapshot.rows(Split.TRAIN), CALIBRATED_ON.get(side, 100))
    margin = (inputs.kept_side(side) - side) // 2
    found = inputs.read(snapshot, Split.TRAIN, inputs.Rows(0, rows), side)
    return found.images[:, margin : margin + side, margin : margin + side]


def frozen(traced: Any) -> Any:
    """A concrete function whose variables have become constants, which TensorFlow folds into one another.

    TFLite's converter is given this too: a SavedModel would be written and read again, at twice the time.
    """
    from tensorflow.python.framework import convert_to_constants

    return convert_to_constants.convert_variables_to_constants_v2(traced)


class Logs:
    """TensorBoard logs, put where the artifacts are after every epoch."""

    def __init__(self, storage: Storage) -> None:
        import tensorflow as tf

        self._storage = storage
        self._folder = tempfile.TemporaryDirectory()
        self._writer = tf.summary.create_file_writer(self._folder.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        self._folder.cleanup()

    def add(self, epoch: int, values: dict[str, float | None]) -> None:
        """Log an epoch's figures."""
        import tensorflow as tf

        with self._writer.as_default(step=epoch):
            for name, value in values.items():
                if value is not None:
                    tf.summary.scalar(name, value)
        self._writer.flush()
        self._storage.upload(Path(self._folder.name))
