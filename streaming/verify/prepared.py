"""What an accepted picture comes to."""

from datetime import datetime
from typing import NamedTuple

from streaming.contract.verdict import Rejected
from streaming.verify.file_checks import Format
from streaming.verify.quality import Metrics


class Prepared(NamedTuple):
    """An accepted picture.

    Args:
        format: of the original.
        width, height: of the original, upright, in pixels.
        phash: signed 64-bit perceptual hash.
        flags: names of the quality flags that hold.
        metrics: what the flags were judged by.
        taken_at: EXIF capture time, read as if it were UTC since phones state no zone.
        jpeg, thumbnail: re-encoded pictures without metadata.
    """

    format: Format
    width: int
    height: int
    phash: int
    flags: tuple[str, ...]
    metrics: Metrics
    taken_at: datetime | None
    jpeg: bytes
    thumbnail: bytes


Outcome = Prepared | Rejected
