"""A small network trained with the hub's triplet loss on a dataset snapshot, in seconds, and its files."""

import numpy as np

from conf.settings import Settings
from lake.snapshot import DatasetSnapshot, Split
from lake.storage import Storage
from models.evaluation import artifacts
from models.formats import export
from models.nets.verification import Embeddings, verify
from models.pictures.inputs import RowRange, read_pictures
from models.registry import model_cards
from models.registry.model_cards import ModelCard, State

SIDE, MARGIN = 32, 0.2
_STEPS = 60


def train(settings: Settings, model_id: str, dataset_id: str) -> None:
    """Train, choose a threshold on the validation pictures, and write card, TFLite file and metrics."""
    import keras
    import tensorflow as tf

    from models.nets import heads, triplet

    keras.utils.set_random_seed(1)
    snapshot = DatasetSnapshot.load(Storage(settings.lake.at("snapshots", dataset_id), settings.s3))
    pixels, labels = _pictures(snapshot, Split.TRAIN)
    inputs = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(inputs)
    for channels in (8, 16):
        x = keras.layers.Conv2D(channels, 3, 2, "same", activation="relu")(x)
    x = keras.layers.Flatten(name="avg_pool")(x)
    model = keras.Model(inputs, heads.embedding(16)(x), name="small")
    optimizer = keras.optimizers.Adam(0.003)

    @tf.function
    def step() -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(triplet.losses(model(pixels, training=True), labels, MARGIN))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

    optimizer.build(model.trainable_variables)
    for _ in range(_STEPS):
        step()
    exportable = export.ExportableModel(model, model_id, ())
    files = model_cards.artifact_storage(settings, model_id)
    export.write_tflite(exportable, files, pixels[:8].astype(np.uint8))
    held_out, true = _pictures(snapshot, Split.VALIDATION)
    found = Embeddings(tuple(map(str, range(len(true)))), true, exportable.predict(held_out))
    verified = verify(found, found, 1)
    assert verified is not None
    files.write_json(artifacts.METRICS, {"verification_threshold": verified.threshold})
    card = ModelCard(
        model_id=model_id, dataset_id=dataset_id, architecture="resnet20", side=SIDE,
        labels=snapshot.labels, objective="triplet", state=State.READY, created="2026-11-24T06:00:00+00:00",
    )  # fmt: skip
    model_cards.write_card(settings, card)


def _pictures(snapshot: DatasetSnapshot, split: Split) -> tuple[np.ndarray, np.ndarray]:
    read = read_pictures(snapshot, split, RowRange(0, snapshot.row_count(split)), SIDE)
    margin = (read.images.shape[1] - SIDE) // 2
    centre = read.images[:, margin : margin + SIDE, margin : margin + SIDE]
    return centre.astype(np.float32), np.array(read.labels)
