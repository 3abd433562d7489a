"""MobileNetV2 and EfficientNet-Lite0: parameters as published, padding, normalization, sides, scalings."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conf.choices import Pixels
from models.architectures import ARCHITECTURES

NAMES = ["efficientnet-lite0", "mobilenet-v2"]
SIDES = [96, 128, 160, 224]


@cache
def build(name: str, side: int = 96, pixels: Pixels = Pixels.UNIT) -> Any:
    """A model with 1,000 classes; each is built once, as that takes a second."""
    from models.nets.heads import logits

    return ARCHITECTURES[name].build(logits(1000), pixels, side)


@pytest.mark.parametrize(
    ("name", "trainable", "all_values"),
    # torchvision publishes 3,504,872 parameters of MobileNetV2. Its file has 3,539,036 values, 52 of which
    # count batches. Of Lite0 4,652,008 are published (timm: 4.65 million); normalizations double 42,016 of
    # their 84,032 values.
    [("efficientnet-lite0", 4_652_008, 4_694_024), ("mobilenet-v2", 3_504_872, 3_539_036 - 52)],
)
def test_parameters_are_as_published(name: str, trainable: int, all_values: int) -> None:
    model = build(name)
    assert sum(int(np.prod(variable.shape)) for variable in model.trainable_variables) == trainable
    assert model.count_params() == all_values


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", [SIDES[0], SIDES[-1]])
def test_every_side_gives_1280_features_at_a_32nd_of_the_resolution(name: str, side: int) -> None:
    assert set(ARCHITECTURES[name].sides) == set(SIDES)
    model = build(name, side)
    assert model.name == name
    assert model.input.shape == (None, side, side, 3) and model.output.shape == (None, 1000)
    assert model.get_layer("top_relu").output.shape == (None, side // 32, side // 32, 1280)
    assert model.get_layer("avg_pool").output.shape == (None, 1280)


@pytest.mark.parametrize(
    ("name", "epsilon", "momentum"), [("efficientnet-lite0", 1e-3, 0.99), ("mobilenet-v2", 1e-5, 0.9)]
)
def test_normalization_is_that_of_the_originals(name: str, epsilon: float, momentum: float) -> None:
    import keras

    layers = [layer for layer in build(name).layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {(layer.epsilon, layer.momentum) for layer in layers} == {(epsilon, momentum)}


@pytest.mark.parametrize(("name", "first"), [("efficientnet-lite0", [0, 1, 2]), ("mobilenet-v2", [-1, 0, 1])])
def test_the_first_convolution_pads_as_the_original(name: str, first: list[int]) -> None:
    """Stride 2 on an even side: TensorFlow pads at the end only, PyTorch on both sides."""
    import keras

    model = build(name)
    convolution = model.get_layer("stem_conv")
    kernel = np.zeros((3, 3, 3, 32), np.float32)
    kernel[:, 0, 0, 0] = [1, 10, 100]  # tells which rows a kernel covers
    convolution.set_weights([kernel])
    scaled = keras.Model(model.input, [model.get_layer("scaled").output, convolution.output])
    picture = np.random.default_rng(1).uniform(0, 255, (1, 96, 96, 3)).astype(np.float32)
    pixels, outputs = scaled.predict_on_batch(picture)
    column = first[0]  # of the kernel's first column, at the first output
    at = 2 + column  # at the second output, which no padding touches
    rows = [2 + row for row in first]
    expected = sum(weight * pixels[0, row, at, 0] for weight, row in zip((1, 10, 100), rows, strict=True))
    assert outputs[0, 1, 1, 0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("pixels", "values"),
    # By hand, for 0, 127 and 255 in red, green and blue.
    [
        (Pixels.LITE, [-127 / 128, 0.0, 1.0]),
        (Pixels.TORCH, [-0.485 / 0.229, (127 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]),
    ],
)
def test_pixels_are_scaled_as_the_originals_do(pixels: Pixels, values: list[float]) -> None:
    import keras

    from models.nets.pixels import rgb_input, scaling_of

    model = keras.Model(*rgb_input(4, pixels))
    picture = np.broadcast_to(np.array([0, 127, 255], np.float32), (1, 4, 4, 3))
    assert model.predict_on_batch(picture)[0, 0, 0] == pytest.approx(values, abs=1e-6)
    assert scaling_of(model) is pixels


def test_a_saved_model_keeps_the_scaling_of_each_channel(tmp_path: Path) -> None:
    import keras

    from models.nets.pixels import scaling_of

    model = build("mobilenet-v2", 96, Pixels.TORCH)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    picture = np.random.default_rng(2).uniform(0, 255, (1, 96, 96, 3)).astype(np.float32)
    assert scaling_of(loaded) is Pixels.TORCH
    assert np.allclose(model.predict_on_batch(picture), loaded.predict_on_batch(picture), atol=1e-5)
