"""COCO: a folder of pictures and a JSON file of annotations for each split.

The label belongs to the whole picture, so the box of its annotation is the picture.
Source: https://cocodataset.org/#format-data.
"""

import io
import json
from collections.abc import Iterator
from typing import Any

from PIL import Image

from lake.snapshot import DatasetSnapshot, Split
from models.inference.export_target import File
from organize.datasets.exports.pictures import pictures


def files(snapshot: DatasetSnapshot) -> Iterator[File]:
    """`images/<split>/<image id>.jpg` and `annotations/instances_<split>.json`. Category ids start at 1."""
    categories = [
        {"id": index, "name": label, "supercategory": ""}
        for index, label in enumerate(snapshot.labels, start=1)
    ]
    for split in Split:
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number, picture in enumerate(pictures(snapshot, split), start=1):
            name = f"{picture.image_id}.jpg"
            with Image.open(io.BytesIO(picture.jpeg)) as opened:  # reads the header only
                width, height = opened.size
            images.append({"id": number, "file_name": name, "width": width, "height": height})
            annotations.append(
                {
                    "id": number,
                    "image_id": number,
                    "category_id": picture.index + 1,
                    "bbox": [0, 0, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                }
            )
            yield f"images/{split}/{name}", picture.jpeg
        if images:
            content = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
            yield f"annotations/instances_{split}.json", json.dumps(content, ensure_ascii=False).encode()
