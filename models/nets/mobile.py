"""MobileNetV2 and EfficientNet-Lite0 in Keras 3: block → stage → model, depths as data.

Both are chains of inverted residual blocks, with ReLU6 after every normalization but the last of a block.
Sources: Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", table 2; Tan and Le
2019, "EfficientNet", table 1, and Google's tpu repository (2020) for Lite0, which has neither
squeeze-and-excitation nor swish. Each network pads and normalizes as the code that its published weights were
trained with: TensorFlow pads Lite0 (`same`: one pixel more at the end), torchvision MobileNetV2 (symmetric).
The dropout before their classifiers is left out.
"""

from dataclasses import dataclass
from typing import NamedTuple

import keras
from keras import layers

from conf.choices import Pixels
from models.nets.heads import Head, Model, Tensor
from models.nets.pixels import rgb_input

FEATURES = 1280  # numbers of the last feature layer
STEM = 32  # filters of the first convolution


class Stage(NamedTuple):
    """Blocks in a row: the first has the stride, and may change the number of filters.

    Args:
        expansion: filters inside a block, as a multiple of those before it.
        filters: after each block.
        blocks: number of blocks.
        stride: of the first block.
        kernel: side of the depthwise kernels.
    """

    expansion: int
    filters: int
    blocks: int
    stride: int
    kernel: int = 3


@dataclass(frozen=True)
class Design:
    """A network of inverted residuals.

    Args:
        stages: between the first and the last convolution.
        symmetric: pad both sides alike, as PyTorch; False pads as TensorFlow's `same`.
        epsilon, momentum: of batch normalization, momentum as Keras counts it (1 - PyTorch's).
    """

    stages: tuple[Stage, ...]
    symmetric: bool
    epsilon: float
    momentum: float


DESIGNS = {
    "efficientnet-lite0": Design(
        stages=(
            Stage(1, 16, 1, 1),
            Stage(6, 24, 2, 2),
            Stage(6, 40, 2, 2, kernel=5),
            Stage(6, 80, 3, 2),
            Stage(6, 112, 3, 1, kernel=5),
            Stage(6, 192, 4, 2, kernel=5),
            Stage(6, 320, 1, 1),
        ),
        symmetric=False,
        epsilon=1e-3,
        momentum=0.99,
    ),
    "mobilenet-v2": Design(
        stages=(
            Stage(1, 16, 1, 1),
            Stage(6, 24, 2, 2),
            Stage(6, 32, 3, 2),
            Stage(6, 64, 4, 2),
            Stage(6, 96, 3, 1),
            Stage(6, 160, 3, 2),
            Stage(6, 320, 1, 1),
        ),
        symmetric=True,
        epsilon=1e-5,
        momentum=0.9,
    ),
}


def _initializer() -> keras.Initializer:
    """He et al. 2015 by outputs, as torchvision; of depthwise kernels the fan-out is their area."""
    return keras.initializers.VarianceScaling(2.0, "fan_out", "truncated_normal")


def _padded(x: Tensor, design: Design, kernel: int, stride: int, name: str) -> tuple[Tensor, str]:
    """The input of a convolution, and the padding that the convolution itself has to do.

    With stride 1 both ways to pad are the same.
    """
    if stride == 1 or not design.symmetric:
        return x, "same"
    return layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x), "valid"


def _normalized(x: Tensor, design: Design, name: str) -> Tensor:
    return layers.BatchNormalization(
        momentum=design.momentum, epsilon=design.epsilon, synchronized=True, name=f"{name}_bn"
    )(x)


def _convolution(x: Tensor, design: Design, filters: int, kernel: int, stride: int, name: str) -> Tensor:
    """A convolution without bias, then batch normalization."""
    x, padding = _padded(x, design, kernel, stride, name)
    x = layers.Conv2D(
        filters, kernel, stride, padding, use_bias=False, kernel_initializer=_initializer(),
        name=f"{name}_conv",
    )(x)  # fmt: skip
    return _normalized(x, design, name)


def _depthwise(x: Tensor, design: Design, kernel: int, stride: int, name: str) -> Tensor:
    """A depthwise convolution without bias, then batch normalization."""
    x, padding = _padded(x, design, kernel, stride, name)
    x = layers.DepthwiseConv2D(
        kernel, stride, padding, use_bias=False, depthwise_initializer=_initializer(), name=f"{name}_conv"
    )(x)
    return _normalized(x, design, name)


def _relu6(x: Tensor, name: str) -> Tensor:
    return layers.ReLU(max_value=6, name=f"{name}_relu")(x)


def block(x: Tensor, design: Design, stage: Stage, stride: int, name: str) -> Tensor:
    """An inverted residual: expand (1 × 1), filter each channel, project (1 × 1); a shortcut if it fits."""
    shortcut = x
    if stage.expansion > 1:
        expand = f"{name}_expand"
        x = _relu6(_convolution(x, design, stage.expansion * x.shape[-1], 1, 1, expand), expand)
    x = _relu6(_depthwise(x, design, stage.kernel, stride, f"{name}_depthwise"), f"{name}_depthwise")
    x = _convolution(x, design, stage.filters, 1, 1, f"{name}_project")
    return layers.Add(name=f"{name}_add")([shortcut, x]) if shortcut.shape == x.shape else x


def stack(x: Tensor, design: Design, stage: Stage, name: str) -> Tensor:
    """The blocks of a stage."""
    for number in range(stage.blocks):
        x = block(x, design, stage, stage.stride if number == 0 else 1, f"{name}_block{number + 1}")
    return x


def mobile_net(name: str, head: Head, pixels: Pixels, side: int) -> Model:
    """Build a network of inverted residuals.

    Args:
        name: a key of `DESIGNS`.
        head: from the features (batch, 1280) to the output.
        pixels: scaling of the input.
        side: of the input, a multiple of 32 (pixels).

    Returns:
        a model from float (batch, side, side, 3) in 0–255 to the output of the head.
    """
    design = DESIGNS[name]
    inputs, x = rgb_input(side, pixels)
    x = _relu6(_convolution(x, design, STEM, 3, 2, "stem"), "stem")
    for number, stage in enumerate(design.stages, start=1):
        x = stack(x, design, stage, f"stage{number}")
    x = _relu6(_convolution(x, design, FEATURES, 1, 1, "top"), "top")
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return keras.Model(inputs, head(x), name=name)
