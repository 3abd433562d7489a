"""ResNets in Keras 3: block → stack → model, depths as data.

The small ones are those of He et al., "Deep Residual Learning for Image Recognition" (2015), section 4.2,
with parameter-free shortcuts (option A); ResNet-50 is that of `keras.applications`, layer by layer.
Every model takes RGB 0–255 and answers logits; scaling the pixels is its first layer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

Tensor = Any  # a keras.KerasTensor, for which Keras ships no types
Model = Any  # a keras.Model, likewise

EPSILON = 1.001e-5  # of keras.applications' batch normalization
MOMENTUM = (
    0.9  # of its running statistics: Keras' 0.99 needs hundreds of steps that small datasets do not have
)


@dataclass(frozen=True)
class Architecture:
    """How a model is built and the side of the square pictures it takes (pixels)."""

    build: Callable[[int], Model]
    side: int


def _normalized(x: Tensor, name: str | None = None) -> Tensor:
    return layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, synchronized=True, name=name)(x)


def _pixels(side: int) -> tuple[Tensor, Tensor]:
    inputs = keras.Input((side, side, 3), name="rgb")
    return inputs, layers.Rescaling(1 / 127.5, offset=-1, name="scaled")(inputs)


def _small_convolution(x: Tensor, filters: int, stride: int = 1) -> Tensor:
    x = layers.Conv2D(
        filters, 3, stride, padding="same", use_bias=False, kernel_initializer="he_normal"
    )(x)  # fmt: skip
    return _normalized(x)


def small_block(x: Tensor, filters: int, stride: int = 1) -> Tensor:
    """Two 3 × 3 convolutions around a parameter-free shortcut (subsampled, padded with zero channels)."""
    shortcut = x
    if stride > 1:
        shortcut = layers.MaxPooling2D(1, stride)(x)
    if filters > x.shape[-1]:
        missing = filters - x.shape[-1]
        pads = (0, 0), (0, 0), (0, 0), (missing // 2, missing - missing // 2)
        shortcut = keras.ops.pad(shortcut, pads)
    x = layers.ReLU()(_small_convolution(x, filters, stride))
    return layers.ReLU()(layers.Add()([_small_convolution(x, filters), shortcut]))


def small_stack(x: Tensor, filters: int, blocks: int, stride: int) -> Tensor:
    """Blocks of one width, the first of which may halve the resolution."""
    x = small_block(x, filters, stride)
    for _ in range(blocks - 1):
        x = small_block(x, filters)
    return x


def small_resnet(depth: int, classes: int, side: int = 32) -> Model:
    """ResNet for small pictures, depth 6n + 2 (He et al. 2015, section 4.2).

    Returns:
        a model from float (batch, side, side, 3) in 0–255 to logits (batch, classes).
    """
    inputs, x = _pixels(side)
    x = layers.ReLU()(_small_convolution(x, 16))
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        x = small_stack(x, filters, (depth - 2) // 6, stride)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(classes, name="logits")(x), name=f"resnet{depth}")


def block(x: Tensor, filters: int, stride: int, project: bool, name: str) -> Tensor:
    """Bottleneck 1 × 1, 3 × 3, 1 × 1 (fourfold), as `keras.applications` names and strides it."""
    shortcut = x
    if project:
        shortcut = layers.Conv2D(4 * filters, 1, stride, name=f"{name}_0_conv")(x)
        shortcut = _normalized(shortcut, f"{name}_0_bn")
    x = layers.Conv2D(filters, 1, stride, name=f"{name}_1_conv")(x)
    x = layers.ReLU(name=f"{name}_1_relu")(_normalized(x, f"{name}_1_bn"))
    x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_2_conv")(x)
    x = layers.ReLU(name=f"{name}_2_relu")(_normalized(x, f"{name}_2_bn"))
    x = _normalized(layers.Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x), f"{name}_3_bn")
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([shortcut, x]))


def stack(x: Tensor, filters: int, blocks: int, stride: int, name: str) -> Tensor:
    """Bottlenecks of one width, the first with a projection and perhaps a stride."""
    x = block(x, filters, stride, project=True, name=f"{name}_block1")
    for number in range(2, blocks + 1):
        x = block(x, filters, 1, project=False, name=f"{name}_block{number}")
    return x


def resnet(name: str, blocks: Sequence[int], classes: int, side: int = 224) -> Model:
    """ResNet for photographs, from the bottleneck blocks of its four stacks.

    Returns:
        a model from float (batch, side, side, 3) in 0–255 to logits (batch, classes).
    """
    inputs, x = _pixels(side)
    x = layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = layers.Conv2D(64, 7, 2, name="conv1_conv")(x)
    x = layers.ReLU(name="conv1_relu")(_normalized(x, "conv1_bn"))
    x = layers.MaxPooling2D(3, 2, name="pool1_pool")(layers.ZeroPadding2D(1, name="pool1_pad")(x))
    for number, depth in enumerate(blocks):
        x = stack(x, 64 * 2**number, depth, 2 if number else 1, f"conv{number + 2}")
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return keras.Model(inputs, layers.Dense(classes, name="logits")(x), name=name)


ARCHITECTURES = {
    "resnet20": Architecture(lambda classes: small_resnet(20, classes), 32),
    "resnet32": Architecture(lambda classes: small_resnet(32, classes), 32),
    "resnet56": Architecture(lambda classes: small_resnet(56, classes), 32),
    "resnet50": Architecture(lambda classes: resnet("resnet50", (3, 4, 6, 3), classes), 224),
}
