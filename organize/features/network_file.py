"""The TFLite file of an embedder, made once per lake: workers run it without importing TensorFlow."""

import tempfile
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from conf.settings import Settings
from lake.native_output import output_to
from lake.storage import Storage
from models.registry import model_cards
from organize.errors import UnusableEmbedder
from organize.features.embedder import Embedder

FOLDER = "embedders"  # below the lake's root


@dataclass(frozen=True)
class NetworkFile:
    """A TFLite file of a lake; can be sent to executors.

    Args:
        storage: of all such files.
        name: of this file; embedders with other weights or another side have other names.
        side: of the input pictures (pixels).
    """

    storage: Storage
    name: str
    side: int

    def read(self) -> bytes:
        """The file's content."""
        return self.storage.read(self.name)


def get_or_create(settings: Settings, embedder: Embedder) -> NetworkFile:
    """The file of an embedder. The first time it is made of the Keras model, which takes some seconds.

    Another process makes it, so that this one does not keep TensorFlow in its memory.

    Raises:
        UnusableWeights: the published weights are not installed, or not the expected ones.
        UnusableEmbedder: the model cannot be read or converted.
    """
    storage = Storage(settings.lake.at(FOLDER), settings.s3)
    file = NetworkFile(storage, f"{embedder.model_id}-{embedder.weights[:16]}.tflite", embedder.side)
    if not storage.exists(file.name):
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            try:
                content = pool.submit(_convert, settings, embedder).result()
            except BrokenProcessPool:
                log = settings.logs.dir / "tensorflow.out"
                raise UnusableEmbedder(
                    f"the process that converts {embedder.model_id} has died; see {log}"
                ) from None
        storage.write(file.name, content)
    return file


def _convert(settings: Settings, embedder: Embedder) -> bytes:
    """The network as TFLite: RGB 0–255, float (n, side, side, 3), to features, float (n, d)."""
    with output_to(settings.logs.dir / "tensorflow.out", 1, 2):
        from models import tensorflow_import

        tensorflow_import.load()
        import tensorflow as tf

        from models.formats.export import freeze
        from models.formats.serving_signature import trace
        from models.nets.heads import feature_extractor

        model = feature_extractor(_keras(settings, embedder))
        shape = (None, embedder.side, embedder.side, 3)
        graph = freeze(trace(lambda rgb: model(rgb, training=False), tf.TensorSpec(shape, tf.float32)))
        return bytes(tf.lite.TFLiteConverter.from_concrete_functions([graph]).convert())


def _keras(settings: Settings, embedder: Embedder) -> object:
    from models.formats.published_weights import published_model

    if embedder.architecture:
        return published_model(embedder.architecture, embedder.side)
    import keras

    from models.formats.export import KERAS

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / KERAS
        file.write_bytes(model_cards.artifact_storage(settings, embedder.model_id).read(KERAS))
        try:
            model = keras.models.load_model(file, compile=False)
            model.get_layer("avg_pool")
        except (ValueError, OSError, TypeError, KeyError) as error:
            cause = " ".join(str(error).split())[:200]
            raise UnusableEmbedder(f"model {embedder.model_id} cannot embed pictures: {cause}") from None
    return model
