"""`Prepared`: the result of verification for an accepted picture."""

from datetime import datetime
from typing import NamedTuple

from lake.pictures.formats import Format
from streaming.contract.verdict import Rejected
from streaming.verify.quality import Metrics


class Prepared(NamedTuple):
    """An accepted picture, ready to be stored.

    Args:
        format: of the original file.
        width, height: of the original in pixels, after its orientation is applied.
        phash: signed 64-bit perceptual hash.
        flags: names of the quality flags that are set.
        metrics: quality metrics, which decide the flags.
        taken_at: EXIF capture time, read as UTC because EXIF has no time zone.
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
