"""The list of architectures and of the ways to scale pixels. No Keras: commands check names without it.

A new architecture is one entry in `ARCHITECTURES` and its builder in `models.nets`. `--arch`, defaults,
checks, benchmarks and tests derive from this list. A builder must name its last feature layer `avg_pool`,
scale pixels by `models.nets.pixels.rgb_input`, and name the model as its entry: `--from` reads that name.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from conf.choices import Pixels


@dataclass(frozen=True)
class Scaling:
    """What a model does to RGB 0–255 before its first convolution: `factor * value + offset`.

    Args:
        layer: name of the Keras layer. It tells the way of scaling in a saved model.
        factor: of every channel.
        offset: of every channel, or of each in the order of the scaled channels.
        bgr: reverse the channels first.
    """

    layer: str
    factor: float
    offset: float | tuple[float, float, float]
    bgr: bool = False


SCALINGS = {
    Pixels.UNIT: Scaling("scaled", 1 / 127.5, -1.0),
    # ImageNet's mean, as `keras.applications.resnet.preprocess_input` subtracts it.
    Pixels.CAFFE: Scaling("caffe", 1.0, (-103.939, -116.779, -123.68), bgr=True),
}


@dataclass(frozen=True)
class Architecture:
    """An architecture.

    Args:
        builder: `module:function` that takes a head, the `Pixels`, the side and the arguments.
        side: of the square pictures it takes (pixels).
        batch_size: pictures per worker and step where train.batch_size is 0. Larger batches spread a step's
            fixed cost (one all-reduce per batch normalization) but need memory (about 90 MB a picture at
            224 px).
        arguments: of the builder.
        published: what its published weights were trained on.
    """

    builder: str
    side: int
    batch_size: int
    arguments: Mapping[str, Any] = field(default_factory=dict)
    published: Pixels = Pixels.UNIT

    def build(self, head: Callable[[Any], Any], pixels: Pixels) -> Any:
        """A new Keras model: RGB 0–255, float (batch, side, side, 3), to the head's output."""
        module, _, name = self.builder.partition(":")
        builder = getattr(importlib.import_module(module), name)
        return builder(head=head, pixels=pixels, side=self.side, **self.arguments)


_SMALL, _LARGE = "models.nets.resnet:small_resnet", "models.nets.resnet:resnet"

ARCHITECTURES = {
    "resnet20": Architecture(_SMALL, 32, 64, {"depth": 20}),
    "resnet32": Architecture(_SMALL, 32, 64, {"depth": 32}),
    "resnet56": Architecture(_SMALL, 32, 64, {"depth": 56}),
    "resnet18": Architecture(_LARGE, 224, 16, {"depth": 18, "block": "basic", "blocks": (2, 2, 2, 2)}),
    "resnet34": Architecture(_LARGE, 224, 16, {"depth": 34, "block": "basic", "blocks": (3, 4, 6, 3)}),
    "resnet50": Architecture(
        _LARGE, 224, 16, {"depth": 50, "block": "bottleneck", "blocks": (3, 4, 6, 3)}, Pixels.CAFFE
    ),
}
