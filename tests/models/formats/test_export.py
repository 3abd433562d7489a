"""The four formats of a trained model: what they answer, and what they say of themselves."""

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flatbuffers.table import Table as Reader
from numpy.typing import NDArray
from PIL import Image

from conf.settings import Settings
from lake.snapshot import Snapshot, Split
from models.formats.export import KERAS, SAVED_MODEL, TFLITE, TFLITE_INT8
from models.formats.tflite_metadata import IDENTIFIER, NAME
from models.inference import prediction
from models.pictures.inputs import Rows, evaluation_batches, read, square
from models.registry import model_cards
from models.runs.train import TrainedModel, load_snapshot

pytestmark = [pytest.mark.services, pytest.mark.faults]  # a training, half a minute


@pytest.fixture(scope="module")
def files(digits_model: TrainedModel, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model's artifacts on this disk."""
    folder = tmp_path_factory.mktemp("artifacts")
    model_cards.artifacts(settings, digits_model.model_id).download(folder)
    return folder


@pytest.fixture(scope="module")
def snapshot(digits_model: TrainedModel, settings: Settings) -> Snapshot:
    return load_snapshot(settings, "digits")


@pytest.fixture(scope="module")
def served(files: Path) -> Any:
    """The SavedModel's default signature."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(files / SAVED_MODEL))
    signature = loaded.signatures["serving_default"]

    def answer(contents: list[bytes]) -> dict[str, Any]:
        assert loaded  # TensorFlow's signatures hold their model weakly
        return {name: value.numpy() for name, value in signature(tf.constant(contents)).items()}

    return answer


def of_test_split(snapshot: Snapshot) -> tuple[NDArray[np.uint8], NDArray[np.int32], list[bytes]]:
    """Prepared pictures, label indices, and the pictures as they are stored."""
    rows = snapshot.rows(Split.TEST)
    pictures = read(snapshot, Split.TEST, Rows(0, rows), 32)
    images = np.concatenate([images for images, _, _ in evaluation_batches(pictures, 32, 1)])
    stored = [jpeg.as_py() for part in snapshot.batches(Split.TEST, 0, rows) for jpeg in part["jpeg"]]
    return images, pictures.labels, stored


def on_phone(file: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What a TFLite file answers to one picture after the other."""
    import tensorflow as tf

    phone = tf.lite.Interpreter(str(file))
    phone.allocate_tensors()
    (taken,), (given,) = phone.get_input_details(), phone.get_output_details()
    answers = []
    for image in images:
        phone.set_tensor(taken["index"], image[None].astype(taken["dtype"]))
        phone.invoke()
        answers.append(phone.get_tensor(given["index"])[0])
    return np.array(answers)


def test_all_formats_do_alike_on_the_test_split(
    digits_model: TrainedModel, settings: Settings, snapshot: Snapshot, files: Path, served: Any
) -> None:
    images, true, stored = of_test_split(snapshot)
    whole = prediction.load(settings, digits_model.model_id).keras
    found = {
        KERAS: np.asarray(whole.predict_on_batch(images.astype(np.float32))).argmax(1),
        SAVED_MODEL: served(stored)["labels"][:, 0].astype(int),  # the labels are digits
        TFLITE: on_phone(files / TFLITE, images).argmax(1),
        TFLITE_INT8: on_phone(files / TFLITE_INT8, images).argmax(1),
    }
    accuracies = {name: float((answers == true).mean()) for name, answers in found.items()}
    assert accuracies[KERAS] == digits_model.evaluation.accuracy
    assert accuracies[KERAS] >= 0.9, "a model that guesses proves nothing"
    assert max(accuracies.values()) - min(accuracies.values()) <= 0.01, accuracies


def test_the_saved_model_answers_labels_with_probabilities_likeliest_first(
    digits_model: TrainedModel, settings: Settings, snapshot: Snapshot, served: Any
) -> None:
    images, _, stored = of_test_split(snapshot)
    answered = served(stored[:50])
    model = prediction.load(settings, digits_model.model_id)
    expected = np.asarray(model.keras.predict_on_batch(images[:50].astype(np.float32)))
    assert answered["probabilities"].shape == (50, 10)
    assert (np.diff(answered["probabilities"], axis=1) <= 0).all()
    assert answered["probabilities"].sum(1) == pytest.approx(np.ones(50), abs=1e-5)
    for labels, shares, row in zip(answered["labels"], answered["probabilities"], expected, strict=True):
        of_label = {label.decode(): share for label, share in zip(labels, shares, strict=True)}
        assert [of_label[label] for label in model.card.labels] == pytest.approx(row, abs=0.05)


def photograph(side: tuple[int, int] = (300, 180)) -> Image.Image:
    """A smooth picture without symmetry, width × height, so that scaling by another way shows little."""
    across, down = np.meshgrid(np.linspace(0, 1, side[0]), np.linspace(0, 1, side[1]))
    channels = [across, down, (across - down) ** 2]
    return Image.fromarray((np.stack(channels, -1) * 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **how: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def turned(value: int) -> bytes:
    """A JPEG whose EXIF says that it lies this way."""
    exif = Image.Exif()
    exif[0x0112] = value
    exif[0x010F] = "a maker, so that the tag is not the first"
    return encoded(photograph(), "JPEG", quality=95, exif=exif)


def transparent() -> bytes:
    image = photograph().convert("RGBA")
    image.putalpha(photograph().convert("L"))
    return encoded(image, "PNG")


@pytest.mark.parametrize(
    "content",
    [
        encoded(photograph(), "JPEG", quality=95),
        encoded(photograph((20, 25)), "JPEG", quality=95),
        encoded(photograph(), "PNG"),
        encoded(photograph().convert("L"), "JPEG", quality=95),
        transparent(),
        *(turned(value) for value in range(1, 9)),
        turned(1)[:40] + b"\xff" * 12 + turned(1)[52:],  # EXIF that points anywhere
    ],
    ids=[
        "jpeg",
        "small",
        "png",
        "grey",
        "transparent",
        *(f"turned-{n}" for n in range(1, 9)),
        "damaged-exif",
    ],
)
def test_the_saved_model_prepares_pictures_as_the_hub_does(content: bytes) -> None:
    import tensorflow as tf

    from models.formats.serving_signature import prepared

    theirs = tf.function(prepared)(tf.constant(content), 32).numpy()
    apart = np.abs(theirs - square(content, 32).astype(np.float32))
    assert apart.mean() < 1.5 and apart.max() <= 16, (apart.mean(), apart.max())


def of_metadata(file: bytes) -> Reader:
    """The root of a TFLite file's metadata."""
    from tensorflow.lite.tools import flatbuffer_utils

    content = flatbuffer_utils.convert_bytearray_to_object(bytearray(file))
    (entry,) = [entry for entry in content.metadata if entry.name.decode() == NAME]
    data = bytes(content.buffers[entry.buffer].data)
    assert data[4:8] == IDENTIFIER
    return Reader(data, int.from_bytes(data[:4], "little"))


def at(table: Reader, slot: int) -> int:
    """Where a field of the schema lies."""
    offset = table.Offset(4 + 2 * slot)
    assert offset, f"field {slot} is not there"
    return int(table.Pos + offset)


def first(table: Reader, slot: int) -> Reader:
    """The first table of a vector of them."""
    place = table.Vector(at(table, slot) - table.Pos)
    return Reader(table.Bytes, table.Indirect(place))


@pytest.mark.parametrize("name", [TFLITE, TFLITE_INT8])
def test_tflite_files_carry_metadata_and_labels(name: str, files: Path, digits_model: TrainedModel) -> None:
    file = (files / name).read_bytes()
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        assert archive.read("labels.txt").decode().split() == list("0123456789")
    root = of_metadata(file)
    assert root.String(at(root, 0)).decode() == digits_model.model_id
    graph = first(root, 3)
    taken, given = first(graph, 2), first(graph, 3)
    unit = first(taken, 4)
    scaling = Reader(taken.Bytes, unit.Indirect(at(unit, 1)))
    mean, deviation = (
        struct.unpack_from("<f", scaling.Bytes, scaling.Vector(at(scaling, slot) - scaling.Pos))
        for slot in (0, 1)
    )
    assert (mean, deviation) == ((0,), (1,))  # scaling is in the model
    assert given.String(at(given, 0)).decode() == "probability"
    assert first(given, 6).String(at(first(given, 6), 0)).decode() == "labels.txt"


def test_the_int8_file_computes_with_integers(files: Path) -> None:
    import tensorflow as tf

    phone = tf.lite.Interpreter(str(files / TFLITE_INT8))
    kinds = [detail["dtype"] for detail in phone.get_tensor_details()]
    assert sum(kind in (np.int8, np.int32) for kind in kinds) >= 0.9 * len(kinds)
    (taken,) = phone.get_input_details()
    assert taken["dtype"] == np.uint8 and taken["quantization"] == (1.0, 0)  # a camera's bytes as they are
    assert (files / TFLITE_INT8).stat().st_size < 0.4 * (files / TFLITE).stat().st_size
