"""What the verify pass says of a picture: how the tests of verdicts ask it."""

import io
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from conf import settings as configuration
from streaming.contract.rules import Rules
from streaming.contract.verdict import Reason, Rejected
from streaming.verify import file_checks
from streaming.verify.prepared import Prepared
from streaming.verify.preprocess import prepare


@cache
def rules() -> Rules:
    """The rules by the default settings."""
    return Rules.of(configuration.load())


def reason(content: bytes) -> Reason | None:
    """Why a picture is rejected; None if it is accepted."""
    problem = refusal(content)
    return problem.reason if problem else None


def refusal(content: bytes) -> Rejected | None:
    """The rejection of a picture with its detail; None if it is accepted."""
    try:
        file_checks.image_id(content, None, rules().ingest)
        prepare(content, rules())
    except Rejected as problem:
        return problem
    return None


def accepted(content: bytes) -> Prepared:
    """What is made of a picture that must be accepted."""
    return prepare(content, rules())


def stored(content: bytes) -> Any:
    """The pixels that are stored of a picture that must be accepted, int (h, w, 3)."""
    return pixels(accepted(content).jpeg)


def pixels(content: bytes) -> Any:
    """A picture fully decoded by Pillow, int (h, w, 3) or (h, w)."""
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        return np.asarray(image).astype(int)


def differs(one: Any, other: Any) -> float:
    """Mean distance of two pictures' values, 0 to 255; infinite for other shapes."""
    if one.shape != other.shape:
        return float("inf")
    return float(np.abs(one.astype(int) - other.astype(int)).mean())
