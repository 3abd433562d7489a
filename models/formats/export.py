"""Export of a trained model: Keras file, SavedModel, TFLite; and TensorBoard logs. Needs TensorFlow."""

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

from lake.snapshot import DatasetSnapshot, Split
from lake.storage import Storage
from models.formats.tflite_metadata import Metadata, add_metadata
from models.pictures import inputs

if TYPE_CHECKING:
    from models.formats.serving_signature import ServingModule

KERAS, SAVED_MODEL, TFLITE, TFLITE_INT8 = "model.keras", "saved_model", "model.tflite", "model-int8.tflite"
# Training pictures by side, for quantization; each costs the converter 5 ms (side 32) or 0.15 s (side 224).
CALIBRATION_PICTURES = {32: 100, 224: 32}


@dataclass(frozen=True)
class ExportableModel:
    """A trained model with the name and labels that the exported files carry.

    Args:
        keras: a model from RGB 0–255, float (batch, side, side, 3), outside any distribution strategy.
        name: model id.
        labels: in the order of the probabilities; empty for an embedding model.
    """

    keras: Any
    name: str
    labels: tuple[str, ...]

    @property
    def side(self) -> int:
        """Side of the input pictures (pixels)."""
        return int(self.keras.input.shape[1])

    @cached_property
    def serving_module(self) -> "ServingModule":
        """The traced functions. Tracing is half of the export time, so all formats share one trace."""
        from models.formats.serving_signature import ServingModule

        return ServingModule(self.keras, self.labels)

    def predict(self, rgb: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict for pictures (batch, side, side, 3): probabilities (batch, classes) or embeddings."""
        import tensorflow as tf

        (result,) = self.serving_module.pixels(tf.constant(rgb)).values()
        predictions: NDArray[np.float32] = result.numpy()
        return predictions

    def metadata(self) -> Metadata:
        """The metadata of its TFLite files."""
        purpose = "Labels a picture." if self.labels else "Turns a picture into a vector."
        return Metadata(self.name, f"{purpose} {self.keras.name}.", self.name, self.side, self.labels)


def write(model: ExportableModel, artifacts: Storage) -> None:
    """Write a model as Keras file and SavedModel.

    The Keras file takes RGB 0–255 as float (batch, side, side, 3) and returns probabilities (batch, classes).
    The SavedModel has the signatures of `ServingModule`; `serve` is the default.

    Args:
        model: to write.
        artifacts: storage to write to.
    """
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder)
        model.keras.save(local / KERAS)
        with _autograph_files_deleted():
            model.serving_module.save(local / SAVED_MODEL)
        artifacts.upload(local)


@contextmanager
def _autograph_files_deleted() -> Iterator[None]:
    """Delete the temporary files of AutoGraph.

    AutoGraph deletes them only when Python exits normally, which Spark's Python workers do not.
    """
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = before


def write_tflite(model: ExportableModel, artifacts: Storage, pictures: NDArray[np.uint8]) -> None:
    """Write a model as TFLite, once in float and once quantized to 8-bit weights and activations.

    Both take RGB 0–255 (batch, side, side, 3) and return float probabilities (batch, classes). The input is
    float for the one, uint8 for the other, as cameras deliver it.
    Source: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference".

    Args:
        model: to write.
        artifacts: storage to write to.
        pictures: uint8 (n, side, side, 3) of the training split, to calibrate the ranges of activations.
    """
    import tensorflow as tf

    graph = freeze(model.serving_module.pixels)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph])
    artifacts.write(TFLITE, add_metadata(converter.convert(), model.metadata()))

    def representative_dataset() -> Iterator[list[NDArray[np.float32]]]:
        for picture in pictures:
            yield [picture[None].astype(np.float32)]

    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative_dataset
    # Operations without an integer kernel (the last layer of an embedding model) stay float.
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
        tf.lite.OpsSet.TFLITE_BUILTINS,
    ]
    converter.inference_input_type = tf.uint8
    artifacts.write(TFLITE_INT8, add_metadata(converter.convert(), model.metadata()))


def calibration_pictures(snapshot: DatasetSnapshot, side: int) -> NDArray[np.uint8]:
    """The first pictures of the training split, whose order is random: uint8 (n, side, side, 3)."""
    rows = min(snapshot.row_count(Split.TRAIN), CALIBRATION_PICTURES.get(side, 100))
    margin = (inputs.resized_side(side) - side) // 2
    pictures = inputs.read_pictures(snapshot, Split.TRAIN, inputs.RowRange(0, rows), side)
    return pictures.images[:, margin : margin + side, margin : margin + side]


def freeze(function: Any) -> Any:
    """Convert the variables of a concrete function to constants, so that TensorFlow can fold them.

    TFLite's converter gets this function too: through a SavedModel it would take twice as long.
    """
    from tensorflow.python.framework import convert_to_constants

    return convert_to_constants.convert_variables_to_constants_v2(function)


class TensorBoardLogs:
    """TensorBoard logs, uploaded to the artifact storage after every epoch."""

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
        """Log the metrics of an epoch and upload the log."""
        import tensorflow as tf

        with self._writer.as_default(step=epoch):
            for name, value in values.items():
                if value is not None:
                    tf.summary.scalar(name, value)
        self._writer.flush()
        self._storage.upload(Path(self._folder.name))
