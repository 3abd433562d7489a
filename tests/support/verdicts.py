"""The verify pass on single pictures, for tests of verdicts."""

import io
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from conf import settings as configuration
from streaming.contract.rules import Rules
from streaming.contract.verdict import Rejected, RejectReason
from streaming.verify import file_checks
from streaming.verify.prepared import Prepared
from streaming.verify.preprocess import prepare


@cache
def rules() -> Rules:
    """The rules from the default settings."""
    return Rules.of(configuration.load())


def reason(content: bytes) -> RejectReason | None:
    """Why a picture is rejected; None if it is accepted."""
    problem = rejection(content)
    return problem.reason if problem else None


def rejection(content: bytes) -> Rejected | None:
    """The rejection of a picture with its detail; None if it is accepted."""
    try:
        file_checks.image_id(content, None, rules().ingest)
        prepare(content, rules())
    except Rejected as problem:
        return problem
    return None


def accepted(content: bytes) -> Prepared:
    """The prepared picture; fails if it is rejected."""
    return prepare(content, rules())


def stored(content: bytes) -> Any:
    """The stored pixels, int (h, w, 3); fails if the picture is rejected."""
    return pixels(accepted(content).jpeg)


def pixels(content: bytes) -> Any:
    """A picture fully decoded by Pillow, int (h, w, 3) or (h, w)."""
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        return np.asarray(image).astype(int)


def differs(one: Any, other: Any) -> float:
    """Mean absolute difference of two pictures, 0 to 255; infinite if the shapes differ."""
    if one.shape != other.shape:
        return float("inf")
    return float(np.abs(one.astype(int) - other.astype(int)).mean())
