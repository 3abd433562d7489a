"""Closed lists that settings choose from and that packages derive from."""

from enum import StrEnum


class Flag(StrEnum):
    """A quality that is marked; it rejects an upload only where `quality.reject` names it.

    A new flag needs a threshold in `conf.sections.Quality` and hub.toml, and its test in
    `streaming.verify.quality.flags`. Settings, verdicts and shared memory derive from this list.
    """

    DARK = "dark"
    BRIGHT = "bright"
    BLURRY = "blurry"
    LOW_INFORMATION = "low_information"
    ODD_ASPECT = "odd_aspect"
    ODD_SIZE = "odd_size"
    GRAYSCALE = "grayscale"


class SplitBy(StrEnum):
    """What is not divided between the splits of a dataset: a group of near duplicates, or a label."""

    GROUP = "group"
    LABEL = "label"


class KeepTogether(StrEnum):
    """Columns of samples whose values are not divided between splits, besides groups of near duplicates."""

    USER = "user"
    DEVICE = "device"
    BATCH = "batch"


class Pixels(StrEnum):
    """How a model scales RGB 0–255 before its first convolution; `models.architectures` has the numbers."""

    UNIT = "unit"  # to -1..1
    CAFFE = "caffe"  # BGR minus ImageNet's mean, as keras.applications' ResNet-50 weights expect
    LITE = "lite"  # (value - 127) / 128, as EfficientNet-Lite's weights expect it
    TORCH = "torch"  # ImageNet's mean and deviation of 0..1, as torchvision's weights expect it
