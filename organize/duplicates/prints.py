"""Prints of stored pictures, computed where the pictures are: a few kilobytes for each."""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from lake.errors import UndecodablePicture
from lake.pictures import pixels
from organize.duplicates.comparison.picture_square import SIDE, mirrored, square_of
from organize.duplicates.comparison.verification import Print
from organize.duplicates.picture_store import StoredPicture
from organize.features.description import with_column
from streaming.verify.phash import phash

_SCHEMA = "image_id string, width int, height int, phash long, square binary, mirror long"
_COLUMNS = ["image_id", "jpeg", "width", "height", "phash"]
PRINT_COLUMNS = ["image_id", "width", "height", "phash", "square", "mirror"]
_TYPES = {"width": pa.int32(), "height": pa.int32(), "square": pa.binary(), "mirror": pa.int64()}


def with_prints(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Add the columns `square` and `mirror` to pictures, null for one that cannot be decoded.

    Also sets width and height (of the original) where an older hub did not write them.

    Args:
        batch: with jpeg, width and height.
    """
    rows = [_print(row) for row in batch.select(["jpeg", "width", "height"]).to_pylist()]
    for name, kind in _TYPES.items():
        batch = with_column(batch, name, pa.array([row[name] for row in rows], kind))
    return batch


def _print(row: dict[str, Any]) -> dict[str, Any]:
    try:
        rgb = pixels.decode(bytes(row["jpeg"] or b""), 2 * SIDE)
    except (OSError, UndecodablePicture):
        return {"width": row["width"], "height": row["height"], "square": None, "mirror": None}
    gray = cv2.cvtColor(mirrored(rgb), cv2.COLOR_RGB2GRAY)
    return {
        "width": row["width"] or rgb.shape[1],
        "height": row["height"] or rgb.shape[0],
        "square": square_of(rgb).tobytes(),
        "mirror": phash(gray),
    }


def print_rows(images: DataFrame) -> DataFrame:
    """Compute the rows of which `stored_picture` makes pictures; undecodable pictures are left out.

    Args:
        images: with image_id, jpeg, width, height (of the original) and phash.
    """

    def describe(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield with_prints(batch).drop_columns("jpeg")

    return images.select(*_COLUMNS).mapInArrow(describe, _SCHEMA).where("square IS NOT NULL")


def stored_picture(row: dict[str, Any]) -> StoredPicture:
    """A picture to store, of a row with image_id, width, height, phash, square and mirror."""
    square = np.frombuffer(bytes(row["square"]), np.uint8).reshape(SIDE, SIDE)
    own = Print(row["image_id"], square, (row["width"], row["height"]))
    return StoredPicture(own, row["phash"], row["mirror"])
