"""The four formats of an exported model: their predictions and their metadata."""

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flatbuffers.table import Table as Reader
from numpy.typing import NDArray

from conf.settings import Settings
from lake.snapshot import DatasetSnapshot, Split
from models.formats.export import KERAS, SAVED_MODEL, TFLITE, TFLITE_INT8
from models.formats.tflite_metadata import IDENTIFIER, NAME
from models.inference import prediction
from models.pictures.inputs import RowRange, evaluation_batches, read_pictures
from models.registry import model_cards
from models.runs.train import TrainedModel, load_snapshot

pytestmark = [pytest.mark.services, pytest.mark.faults]  # trains a model, half a minute


@pytest.fixture(scope="module")
def files(digits_model: TrainedModel, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model's artifacts in a local folder."""
    folder = tmp_path_factory.mktemp("artifacts")
    model_cards.artifact_storage(settings, digits_model.model_id).download(folder)
    return folder


@pytest.fixture(scope="module")
def snapshot(digits_model: TrainedModel, settings: Settings) -> DatasetSnapshot:
    return load_snapshot(settings, "digits")


@pytest.fixture(scope="module")
def serving_default(files: Path) -> Any:
    """The SavedModel's default signature."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(files / SAVED_MODEL))
    signature = loaded.signatures["serving_default"]

    def answer(contents: list[bytes]) -> dict[str, Any]:
        assert loaded  # TensorFlow's signatures hold their model weakly
        return {name: value.numpy() for name, value in signature(tf.constant(contents)).items()}

    return answer


def read_test_split(snapshot: DatasetSnapshot) -> tuple[NDArray[np.uint8], NDArray[np.int32], list[bytes]]:
    """Prepared pictures, label indices, and the encoded pictures."""
    rows = snapshot.row_count(Split.TEST)
    pictures = read_pictures(snapshot, Split.TEST, RowRange(0, rows), 32)
    images = np.concatenate([images for images, _, _ in evaluation_batches(pictures, 32, 1)])
    stored = [jpeg.as_py() for part in snapshot.batches(Split.TEST, 0, rows) for jpeg in part["jpeg"]]
    return images, pictures.labels, stored


def run_tflite(file: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Outputs of a TFLite file for each picture."""
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(str(file))
    interpreter.allocate_tensors()
    (input_detail,), (output_detail,) = interpreter.get_input_details(), interpreter.get_output_details()
    answers = []
    for image in images:
        interpreter.set_tensor(input_detail["index"], image[None].astype(input_detail["dtype"]))
        interpreter.invoke()
        answers.append(interpreter.get_tensor(output_detail["index"])[0])
    return np.array(answers)


def test_all_formats_have_the_same_accuracy_on_the_test_split(
    digits_model: TrainedModel,
    settings: Settings,
    snapshot: DatasetSnapshot,
    files: Path,
    serving_default: Any,
) -> None:
    images, true, stored = read_test_split(snapshot)
    keras_model = prediction.load_model(settings, digits_model.model_id).keras
    found = {
        KERAS: np.asarray(keras_model.predict_on_batch(images.astype(np.float32))).argmax(1),
        SAVED_MODEL: serving_default(stored)["labels"][:, 0].astype(int),  # the labels are digits
        TFLITE: run_tflite(files / TFLITE, images).argmax(1),
        TFLITE_INT8: run_tflite(files / TFLITE_INT8, images).argmax(1),
    }
    accuracies = {name: float((answers == true).mean()) for name, answers in found.items()}
    assert accuracies[KERAS] == digits_model.evaluation.accuracy
    assert accuracies[KERAS] >= 0.9, "a model that guesses proves nothing"
    assert max(accuracies.values()) - min(accuracies.values()) <= 0.01, accuracies


def test_the_saved_model_returns_labels_by_descending_probability(
    digits_model: TrainedModel, settings: Settings, snapshot: DatasetSnapshot, serving_default: Any
) -> None:
    images, _, stored = read_test_split(snapshot)
    answered = serving_default(stored[:50])
    model = prediction.load_model(settings, digits_model.model_id)
    expected = np.asarray(model.keras.predict_on_batch(images[:50].astype(np.float32)))
    assert answered["probabilities"].shape == (50, 10)
    assert (np.diff(answered["probabilities"], axis=1) <= 0).all()
    assert answered["probabilities"].sum(1) == pytest.approx(np.ones(50), abs=1e-5)
    for labels, shares, row in zip(answered["labels"], answered["probabilities"], expected, strict=True):
        of_label = {label.decode(): share for label, share in zip(labels, shares, strict=True)}
        assert [of_label[label] for label in model.card.labels] == pytest.approx(row, abs=0.05)


def read_metadata(file: bytes) -> Reader:
    """The root table of a TFLite file's metadata."""
    from tensorflow.lite.tools import flatbuffer_utils

    content = flatbuffer_utils.convert_bytearray_to_object(bytearray(file))
    (entry,) = [entry for entry in content.metadata if entry.name.decode() == NAME]
    data = bytes(content.buffers[entry.buffer].data)
    assert data[4:8] == IDENTIFIER
    return Reader(data, int.from_bytes(data[:4], "little"))


def field_position(table: Reader, slot: int) -> int:
    """Position of a field of the schema."""
    offset = table.Offset(4 + 2 * slot)
    assert offset, f"field {slot} is missing"
    return int(table.Pos + offset)


def first_table(table: Reader, slot: int) -> Reader:
    """The first table of a vector of tables."""
    place = table.Vector(field_position(table, slot) - table.Pos)
    return Reader(table.Bytes, table.Indirect(place))


@pytest.mark.parametrize("name", [TFLITE, TFLITE_INT8])
def test_tflite_files_carry_metadata_and_labels(name: str, files: Path, digits_model: TrainedModel) -> None:
    file = (files / name).read_bytes()
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        assert archive.read("labels.txt").decode().split() == list("0123456789")
    root = read_metadata(file)
    assert root.String(field_position(root, 0)).decode() == digits_model.model_id
    graph = first_table(root, 3)
    input_detail, output_detail = first_table(graph, 2), first_table(graph, 3)
    unit = first_table(input_detail, 4)
    scaling = Reader(input_detail.Bytes, unit.Indirect(field_position(unit, 1)))
    mean, deviation = (
        struct.unpack_from("<f", scaling.Bytes, scaling.Vector(field_position(scaling, slot) - scaling.Pos))
        for slot in (0, 1)
    )
    assert (mean, deviation) == ((0,), (1,))  # scaling is in the model
    assert output_detail.String(field_position(output_detail, 0)).decode() == "probability"
    assert (
        first_table(output_detail, 6).String(field_position(first_table(output_detail, 6), 0)).decode()
        == "labels.txt"
    )


def test_the_int8_file_computes_with_integers(files: Path) -> None:
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(str(files / TFLITE_INT8))
    kinds = [detail["dtype"] for detail in interpreter.get_tensor_details()]
    assert sum(kind in (np.int8, np.int32) for kind in kinds) >= 0.9 * len(kinds)
    (input_detail,) = interpreter.get_input_details()
    assert input_detail["dtype"] == np.uint8 and input_detail["quantization"] == (
        1.0,
        0,
    )  # a camera's bytes unchanged
    assert (files / TFLITE_INT8).stat().st_size < 0.4 * (files / TFLITE).stat().st_size
