"""A trained model in the formats that others load. Runs where TensorFlow is loaded already."""

import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lake.storage import Storage

KERAS, SAVED_MODEL, TFLITE = "model.keras", "saved_model", "model.tflite"


def write(model: Any, artifacts: Storage) -> None:
    """Write a model as Keras file, SavedModel and TFLite.

    All three take RGB 0–255 as float (batch, side, side, 3) and answer probabilities (batch, classes).

    Args:
        model: a Keras model outside any distribution strategy.
        artifacts: rooted where the files go.
    """
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder)
        model.save(local / KERAS)
        model.export(local / SAVED_MODEL, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(local / SAVED_MODEL))
        (local / TFLITE).write_bytes(converter.convert())
        artifacts.upload(local)


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
