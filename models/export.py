"""A trained model in the formats that others load. Runs where TensorFlow is loaded already."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from lake.snapshot import Snapshot, Split
from lake.storage import Storage
from models import inputs
from models.metadata import Description, described

if TYPE_CHECKING:
    from models.served import Served

KERAS, SAVED_MODEL, TFLITE, TFLITE_INT8 = "model.keras", "saved_model", "model.tflite", "model-int8.tflite"
CALIBRATED_ON = {32: 200, 224: 32}  # training pictures by side; each takes int8's converter 0.15 s at 224 px


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
        from models.served import Served

        return Served(self.keras, self.labels)

    def answer(self, rgb: NDArray[np.float32]) -> NDArray[np.float32]:
        """What it answers to pictures, float (batch, side, side, 3): (batch, classes) or embeddings."""
        (found,) = self.served.pixels(rgb).values()
        answers: NDArray[np.float32] = found.numpy()
        return answers

    def describe(self) -> Description:
        """What its TFLite files say."""
        does = "Labels a picture." if self.labels else "Turns a picture into a vector."
        return Description(self.name, f"{does} {self.keras.name}.", self.name, self.side, self.labels)


def write(model: Exported, artifacts: Storage) -> None:
    """Write a model as Keras file, SavedModel and float TFLite.

    Keras file and TFLite take RGB 0–255 as float (batch, side, side, 3) and answer probabilities (batch,
    classes); the SavedModel's signatures are those of `Served`, `serve` being the default.

    Args:
        model: to write.
        artifacts: rooted where the files go.
    """
    import tensorflow as tf

    served = model.served
    signatures = {
        "serving_default": served.serve.get_concrete_function(),
        "pixels": served.pixels.get_concrete_function(),
    }
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder)
        model.keras.save(local / KERAS)
        tf.saved_model.save(served, str(local / SAVED_MODEL), signatures)
        artifacts.upload(local)
    artifacts.write(TFLITE, described(_converter(model).convert(), model.describe()))


def write_int8(model: Exported, artifacts: Storage, pictures: NDArray[np.uint8]) -> None:
    """Write a model as TFLite whose weights and activations are 8-bit integers.

    It takes RGB 0–255 as uint8 (batch, side, side, 3), as cameras have it, and answers float probabilities.
    Source: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference".

    Args:
        model: to write.
        artifacts: rooted where the file goes.
        pictures: uint8 (n, side, side, 3) of the training split, for the ranges of activations.
    """
    import tensorflow as tf

    def shown() -> Iterator[list[NDArray[np.float32]]]:
        for picture in pictures:
            yield [picture[None].astype(np.float32)]

    converter = _converter(model)
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


def _converter(model: Exported) -> Any:
    """From a frozen graph: a SavedModel would be written and read again, at twice the time."""
    import tensorflow as tf

    traced = model.served.pixels.get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([frozen(traced)])


def frozen(traced: Any) -> Any:
    """A concrete function whose variables have become constants, which TensorFlow folds into one another."""
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
