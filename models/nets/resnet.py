"""ResNets in Keras 3: block → stack → model, depths as data.

Source: He et al., "Deep Residual Learning for Image Recognition" (2015). Small pictures use section 4.2 with
parameter-free shortcuts (option A), photographs use table 1. ResNet-50 is layer by layer the one of
`keras.applications`, so that its published weights fit (see `models.workers.initial_weights`).
Every model takes RGB 0–255 and ends in a head. Pixel scaling (`Pixels`) is part of the model, so that no
caller can do it wrong.
"""

from collections.abc import Callable, Sequence

import keras
from keras import layers

from conf.choices import Pixels
from models.nets.heads import Head, Model, Tensor
from models.nets.pixels import rgb_input

EPSILON = 1.001e-5  # of batch normalization in keras.applications
MOMENTUM = 0.9  # of batch normalization: Keras' 0.99 needs hundreds of steps, too many for small datasets


def _batch_norm(x: Tensor, name: str) -> Tensor:
    return layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, synchronized=True, name=name)(x)


def _conv_bn(x: Tensor, filters: int, kernel: int, stride: int, name: str) -> Tensor:
    """A convolution without bias, then batch normalization."""
    x = layers.Conv2D(
        filters, kernel, stride, padding="same", use_bias=False, kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)  # fmt: skip
    return _batch_norm(x, f"{name}_bn")


def small_block(x: Tensor, filters: int, stride: int, name: str) -> Tensor:
    """Two 3 × 3 convolutions and a shortcut without parameters: subsampled, zero-padded (option A)."""
    shortcut = x
    if stride > 1:
        shortcut = layers.MaxPooling2D(1, stride)(x)
    if filters > x.shape[-1]:
        missing = filters - x.shape[-1]
        pads = (0, 0), (0, 0), (0, 0), (missing // 2, missing - missing // 2)
        shortcut = keras.ops.pad(shortcut, pads)
    x = layers.ReLU()(_conv_bn(x, filters, 3, stride, f"{name}_1"))
    return layers.ReLU()(layers.Add()([_conv_bn(x, filters, 3, 1, f"{name}_2"), shortcut]))


def basic_block(x: Tensor, filters: int, stride: int, name: str) -> Tensor:
    """Two 3 × 3 convolutions and a shortcut, projected if shapes differ (option B)."""
    shortcut = x
    if stride > 1 or filters != x.shape[-1]:
        shortcut = _conv_bn(x, filters, 1, stride, f"{name}_0")
    x = layers.ReLU(name=f"{name}_1_relu")(_conv_bn(x, filters, 3, stride, f"{name}_1"))
    x = layers.Add(name=f"{name}_add")([_conv_bn(x, filters, 3, 1, f"{name}_2"), shortcut])
    return layers.ReLU(name=f"{name}_out")(x)


def bottleneck(x: Tensor, filters: int, stride: int, name: str) -> Tensor:
    """Convolutions 1 × 1, 3 × 3, 1 × 1 (4 × filters), with the names and strides of `keras.applications`."""
    shortcut = x
    if stride > 1 or 4 * filters != x.shape[-1]:
        shortcut = layers.Conv2D(4 * filters, 1, stride, name=f"{name}_0_conv")(x)
        shortcut = _batch_norm(shortcut, f"{name}_0_bn")
    x = layers.Conv2D(filters, 1, stride, name=f"{name}_1_conv")(x)
    x = layers.ReLU(name=f"{name}_1_relu")(_batch_norm(x, f"{name}_1_bn"))
    x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_2_conv")(x)
    x = layers.ReLU(name=f"{name}_2_relu")(_batch_norm(x, f"{name}_2_bn"))
    x = _batch_norm(layers.Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x), f"{name}_3_bn")
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([shortcut, x]))


Block = Callable[[Tensor, int, int, str], Tensor]
BLOCKS: dict[str, Block] = {"basic": basic_block, "bottleneck": bottleneck}


def stack(x: Tensor, block: Block, filters: int, blocks: int, stride: int, name: str) -> Tensor:
    """A sequence of blocks of one width; the first one may halve the resolution."""
    for number in range(1, blocks + 1):
        x = block(x, filters, stride if number == 1 else 1, f"{name}_block{number}")
    return x


def small_resnet(depth: int, head: Head, pixels: Pixels = Pixels.UNIT, side: int = 32) -> Model:
    """ResNet for small pictures, depth 6n + 2 (He et al. 2015, section 4.2 and table 6).

    Returns:
        a model from float (batch, side, side, 3) in 0–255 to the output of the head.
    """
    inputs, x = rgb_input(side, pixels)
    x = layers.ReLU()(_conv_bn(x, 16, 3, 1, "conv1"))
    for number, (filters, stride) in enumerate(((16, 1), (32, 2), (64, 2)), start=2):
        x = stack(x, small_block, filters, (depth - 2) // 6, stride, f"conv{number}")
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return keras.Model(inputs, head(x), name=f"resnet{depth}")


def resnet(
    depth: int, block: str, blocks: Sequence[int], head: Head, pixels: Pixels, side: int = 224
) -> Model:
    """ResNet for photographs (He et al. 2015, table 1).

    Args:
        block: a key of `BLOCKS`.
        blocks: depths of the four stacks.

    Returns:
        a model from float (batch, side, side, 3) in 0–255 to the output of the head.
    """
    inputs, x = rgb_input(side, pixels)
    x = layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = layers.Conv2D(64, 7, 2, use_bias=block == "bottleneck", name="conv1_conv")(x)
    x = layers.ReLU(name="conv1_relu")(_batch_norm(x, "conv1_bn"))
    x = layers.MaxPooling2D(3, 2, name="pool1_pool")(layers.ZeroPadding2D(1, name="pool1_pad")(x))
    for number, count in enumerate(blocks):
        x = stack(x, BLOCKS[block], 64 * 2**number, count, 2 if number else 1, f"conv{number + 2}")
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return keras.Model(inputs, head(x), name=f"resnet{depth}")
