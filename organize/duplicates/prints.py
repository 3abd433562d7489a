"""Prints of stored pictures, computed by Spark where the pictures are: a few kilobytes for each."""

from collections.abc import Iterator

import cv2
import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from lake.errors import UndecodablePicture
from lake.pictures import pixels
from organize.duplicates.comparison.picture_square import SIDE, mirrored, square_of
from organize.duplicates.comparison.verification import Print
from organize.duplicates.picture_store import StoredPicture
from streaming.verify.phash import phash

_SCHEMA = "image_id string, square binary, width int, height int, phash long, mirror long"
_COLUMNS = ["image_id", "jpeg", "width", "height", "phash"]


def print_rows(images: DataFrame) -> DataFrame:
    """Compute the rows of which `stored_picture` makes pictures; undecodable pictures are left out.

    Args:
        images: with image_id, jpeg, width, height (of the original) and phash.
    """
    return images.select(*_COLUMNS).mapInArrow(_prints, _SCHEMA)


def stored_picture(row: dict[str, object]) -> StoredPicture:
    """A picture to store, of a row of `print_rows`."""
    square = np.frombuffer(bytes(row["square"]), np.uint8).reshape(SIDE, SIDE)  # type: ignore[call-overload]
    size = (int(str(row["width"])), int(str(row["height"])))
    return StoredPicture(
        Print(str(row["image_id"]), square, size), int(str(row["phash"])), int(str(row["mirror"]))
    )


def _prints(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        rows = [found for row in batch.to_pylist() if (found := _print(row)) is not None]
        yield pa.RecordBatch.from_pylist(rows, schema=_ARROW)


def _print(row: dict[str, object]) -> dict[str, object] | None:
    try:
        rgb = pixels.decode(bytes(row["jpeg"]), 2 * SIDE)  # type: ignore[call-overload]
    except (OSError, UndecodablePicture):
        return None
    gray = cv2.cvtColor(mirrored(rgb), cv2.COLOR_RGB2GRAY)
    return {
        "image_id": row["image_id"],
        "square": square_of(rgb).tobytes(),
        "width": row["width"] or rgb.shape[1],  # an older hub did not write the size
        "height": row["height"] or rgb.shape[0],
        "phash": row["phash"],
        "mirror": phash(gray),
    }


_ARROW = pa.schema(
    [
        ("image_id", pa.string()),
        ("square", pa.binary()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("phash", pa.int64()),
        ("mirror", pa.int64()),
    ]
)
