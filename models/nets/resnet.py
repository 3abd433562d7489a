"""ResNets in Keras 3: block → stack → model, depths as data.

All are of He et al., "Deep Residual Learning for Image Recognition" (2015): the small ones of section 4.2,
with parameter-free shortcuts (option A), those for photographs of table 1; ResNet-50 is, layer by layer,
that of `keras.applications`, so that its published weights fit (see `models.workers.initial_weights`).
Every model takes RGB 0–255 and ends in a head; turning pixels into what the first convolution wants
(`Pixels`) belongs to the model, so that nobody who uses it can do it wrong.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from models.plan import Pixels

Tensor = Any  # a keras.KerasTensor, for which Keras ships no types
Model = Any  # a keras.Model, likewise
Head = Callable[[Tensor], Tensor]

EPSILON = 1.001e-5  # of keras.applications' batch normalization
MOMENTUM = (
    0.9  # of its running statistics: Keras' 0.99 needs hundreds of steps that small datasets do not have
)
CAFFE_MEAN = (103.939, 116.779, 123.68)  # blue, green, red: ImageNet's, as `preprocess_input` subtracts it
HEADS = ("logits", "embedding", "unit")  # layers that are not features


@dataclass(frozen=True)
class Architecture:
    """How a model is built from its head, and the side of the square pictures it takes (pixels)."""

    build: Callable[[Head, Pixels], Model]
    side: int


def logits(classes: int) -> Head:
    """A head that answers logits (batch, classes); in float32 whatever the layers before it use."""
    return layers.Dense(classes, name="logits")


def embedding(size: int) -> Head:
    """A head that answers vectors (batch, size) of length 1 (Schroff et al. 2015, figure 2)."""
    dense, unit = layers.Dense(size, name="embedding"), layers.UnitNormalization(name="unit")
    return lambda x: unit(dense(x))


def features(model: Model) -> Model:
    """The same model, sharing its variables, without its head: RGB 0–255 to (batch, channels)."""
    return keras.Model(model.input, model.get_layer("avg_pool").output)


def _normalized(x: Tensor, name: str) -> Tensor:
    return layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, synchronized=True, name=name)(x)


def _pixels(side: int, pixels: Pixels) -> tuple[Tensor, Tensor]:
    inputs = keras.Input((side, side, 3), name="rgb")
    if pixels is Pixels.CAFFE:
        mean = [-value for value in CAFFE_MEAN]
        return inputs, layers.Rescaling(1, offset=mean, name="caffe")(keras.ops.flip(inputs, -1))
    return inputs, layers.Rescaling(1 / 127.5, offset=-1, name="scaled")(inputs)


def _convolution(x: Tensor, filters: int, kernel: int, stride: int, name: str) -> Tensor:
    """A convolution without bias and its normalization."""
    x = layers.Conv2D(
        filters, kernel, stride, padding="same", use_bias=False, kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)  # fmt: skip
    return _normalized(x, f"{name}_bn")


def small_block(x: Tensor, filters: int, stride: int, name: str) -> Tensor:
    """Two 3 × 3 convolutions around a parameter-free shortcut (subsampled, padded with zero channels)."""
    shortcut = x
    if stride > 1:
        shortcut = layers.MaxPooling2D(1, stride)(x)
    if filters > x.shape[-1]:
        missing = filters - x.shape[-1]
        pads = (0, 0), (0, 0), (0, 0), (missing // 2, missing - missing // 2)
        shortcut = keras.ops.pad(shortcut, pads)
    x = layers.ReLU()(_convolution(x, filters, 3, stride, f"{name}_1"))
    return layers.ReLU()(layers.Add()([_convolution(x, filters, 3, 1, f"{name}_2"), shortcut]))


def basic_block(x: Tensor, filters: int, stride: int, name: str) -> Tensor:
    """Two 3 × 3 convolutions around a shortcut that is projected where shapes differ (option B)."""
    shortcut = x
    if stride > 1 or filters != x.shape[-1]:
        shortcut = _convolution(x, filters, 1, stride, f"{name}_0")
    x = layers.ReLU(name=f"{name}_1_relu")(_convolution(x, filters, 3, stride, f"{name}_1"))
    x = layers.Add(name=f"{name}_add")([_convolution(x, filters, 3, 1, f"{name}_2"), shortcut])
    return layers.ReLU(name=f"{name}_out")(x)


def bottleneck(x: Tensor, filters: int, stride: int, name: str) -> Tensor:
    """Convolutions 1 × 1, 3 × 3, 1 × 1 (fourfold), as `keras.applications` names and strides them."""
    shortcut = x
    if stride > 1 or 4 * filters != x.shape[-1]:
        shortcut = layers.Conv2D(4 * filters, 1, stride, name=f"{name}_0_conv")(x)
        shortcut = _normalized(shortcut, f"{name}_0_bn")
    x = layers.Conv2D(filters, 1, stride, name=f"{name}_1_conv")(x)
    x = layers.ReLU(name=f"{name}_1_relu")(_normalized(x, f"{name}_1_bn"))
    x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_2_conv")(x)
    x = layers.ReLU(name=f"{name}_2_relu")(_normalized(x, f"{name}_2_bn"))
    x = _normalized(layers.Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x), f"{name}_3_bn")
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([shortcut, x]))


Block = Callable[[Tensor, int, int, str], Tensor]


def stack(x: Tensor, block: Block, filters: int, blocks: int, stride: int, name: str) -> Tensor:
    """Blocks of one width, the first of which may halve the resolution."""
    for number in range(1, blocks + 1):
        x = block(x, filters, stride if number == 1 else 1, f"{name}_block{number}")
    return x


def small_resnet(depth: int, head: Head, pixels: Pixels = Pixels.UNIT, side: int = 32) -> Model:
    """ResNet for small pictures, depth 6n + 2 (He et al. 2015, section 4.2 and table 6).

    Returns:
        a model from float (batch, side, side, 3) in 0–255 to what the head answers.
    """
    inputs, x = _pixels(side, pixels)
    x = layers.ReLU()(_convolution(x, 16, 3, 1, "conv1"))
    for number, (filters, stride) in enumerate(((16, 1), (32, 2), (64, 2)), start=2):
        x = stack(x, small_block, filters, (depth - 2) // 6, stride, f"conv{number}")
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return keras.Model(inputs, head(x), name=f"resnet{depth}")


def resnet(
    depth: int, block: Block, blocks: Sequence[int], head: Head, pixels: Pixels, side: int = 224
) -> Model:
    """ResNet for photographs, from the blocks of its four stacks (He et al. 2015, table 1).

    Returns:
        a model from float (batch, side, side, 3) in 0–255 to what the head answers.
    """
    inputs, x = _pixels(side, pixels)
    x = layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = layers.Conv2D(64, 7, 2, use_bias=block is bottleneck, name="conv1_conv")(x)
    x = layers.ReLU(name="conv1_relu")(_normalized(x, "conv1_bn"))
    x = layers.MaxPooling2D(3, 2, name="pool1_pool")(layers.ZeroPadding2D(1, name="pool1_pad")(x))
    for number, count in enumerate(blocks):
        x = stack(x, block, 64 * 2**number, count, 2 if number else 1, f"conv{number + 2}")
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return keras.Model(inputs, head(x), name=f"resnet{depth}")


def _small(depth: int) -> Architecture:
    return Architecture(lambda head, pixels: small_resnet(depth, head, pixels), 32)


def _large(depth: int, block: Block, blocks: Sequence[int]) -> Architecture:
    return Architecture(lambda head, pixels: resnet(depth, block, blocks, head, pixels), 224)


ARCHITECTURES = {
    "resnet20": _small(20),
    "resnet32": _small(32),
    "resnet56": _small(56),
    "resnet18": _large(18, basic_block, (2, 2, 2, 2)),
    "resnet34": _large(34, basic_block, (3, 4, 6, 3)),
    "resnet50": _large(50, bottleneck, (3, 4, 6, 3)),
}
