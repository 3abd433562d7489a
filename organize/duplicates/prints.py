"""Prints of stored pictures, computed where the pictures are: a few kilobytes for each."""

from collections.abc import Iterator, Mapping
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from lake.errors import UndecodablePicture
from lake.pictures import pixels
from organize.duplicates.comparison.frame import inside
from organize.duplicates.comparison.picture_square import SIDE, mirrored, square_of
from organize.duplicates.comparison.verification import Print
from organize.duplicates.picture_store import StoredPicture
from organize.features.description import with_column
from streaming.verify.phash import phash

_SCHEMA = "image_id string, width int, height int, phash long, square binary, mirror long, framed boolean"
_COLUMNS = ["image_id", "jpeg", "width", "height", "phash"]
PRINT_COLUMNS = ["image_id", "width", "height", "phash", "square", "mirror", "framed"]
_TYPES = {
    "width": pa.int32(), "height": pa.int32(), "phash": pa.int64(),
    "square": pa.binary(), "mirror": pa.int64(), "framed": pa.bool_(),
}  # fmt: skip


def with_prints(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Add the columns `square`, `mirror` and `framed` to pictures, null for one that cannot be decoded.

    Also sets the pHash of a picture inside a frame, and width and height (of the original) where an older hub
    did not write them.

    Args:
        batch: with jpeg, width, height and phash.
    """
    rows = [_print(row) for row in batch.select(["jpeg", "width", "height", "phash"]).to_pylist()]
    for name, kind in _TYPES.items():
        batch = with_column(batch, name, pa.array([row[name] for row in rows], kind))
    return batch


def _print(row: Mapping[str, Any]) -> dict[str, Any]:
    try:
        rgb = pixels.decode(bytes(row["jpeg"] or b""), 2 * SIDE)
    except (OSError, UndecodablePicture):
        return dict.fromkeys(_TYPES) | {name: row[name] for name in ("width", "height", "phash")}
    size = (row["width"] or rgb.shape[1], row["height"] or rgb.shape[0])
    found = describe("", rgb, size, row["phash"])
    return {
        "width": size[0],
        "height": size[1],
        "phash": found.phash,
        "square": found.print.square.tobytes(),
        "mirror": found.mirror,
        "framed": found.print.framed,
    }


def describe(image_id: str, rgb: pixels.RGB, size: tuple[int, int], own_phash: int) -> StoredPicture:
    """A picture to store, of its pixels: without its frame, if it has one.

    Args:
        rgb: the stored picture, uint8 (h, w, 3).
        size: width and height of the original (pixels).
        own_phash: of the stored picture, from the ledger.
    """
    inner = inside(rgb)
    framed = inner.shape != rgb.shape
    hashes = [phash(cv2.cvtColor(each, cv2.COLOR_RGB2GRAY)) for each in (inner, mirrored(inner))]
    own = hashes[0] if framed else own_phash
    return StoredPicture(Print(image_id, square_of(inner), size, framed), own, hashes[1])


def print_rows(images: DataFrame) -> DataFrame:
    """Compute the rows of which `stored_picture` makes pictures; undecodable pictures are left out.

    Args:
        images: with image_id, jpeg, width, height (of the original) and phash.
    """

    def with_print(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield with_prints(batch).drop_columns("jpeg")

    return images.select(*_COLUMNS).mapInArrow(with_print, _SCHEMA).where("square IS NOT NULL")


def stored_picture(row: Mapping[str, Any]) -> StoredPicture:
    """A picture to store, of a row with `PRINT_COLUMNS`."""
    square = np.frombuffer(bytes(row["square"]), np.uint8).reshape(SIDE, SIDE)
    own = Print(row["image_id"], square, (row["width"], row["height"]), row["framed"])
    return StoredPicture(own, row["phash"], row["mirror"])
