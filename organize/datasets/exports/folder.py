"""A folder for each split and label, as torchvision's ImageFolder and Keras read it."""

import csv
import io
from collections.abc import Iterator

from lake.snapshot import DatasetSnapshot, Split
from models.inference.export_target import File
from organize.datasets.exports.pictures import pictures


def files(snapshot: DatasetSnapshot) -> Iterator[File]:
    """`<split>/<label>/<image id>.jpg`, and `<split>.csv` with path, label and image id."""
    for split in Split:
        if not snapshot.row_count(split):
            continue
        index = io.StringIO()
        lines = csv.writer(index, lineterminator="\n")
        lines.writerow(["path", "label", "image_id"])
        for picture in pictures(snapshot, split):
            path = f"{split}/{picture.label}/{picture.image_id}.jpg"
            lines.writerow([path, picture.label, picture.image_id])
            yield path, picture.jpeg
        yield f"{split}.csv", index.getvalue().encode()
