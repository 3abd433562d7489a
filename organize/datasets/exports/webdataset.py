"""Tar files of WebDataset: the files of a picture have its id as name, and follow each other.

Source: https://github.com/webdataset/webdataset, section "The WebDataset Format".
"""

import io
import json
import tarfile
from collections.abc import Iterator

from lake.snapshot import DatasetSnapshot, Split
from models.inference.export_target import File
from organize.datasets.exports.pictures import Picture, shards


def files(snapshot: DatasetSnapshot) -> Iterator[File]:
    """`<split>-<shard>.tar` with `<image id>.jpg`, `.cls` (label index) and `.json` (id, label)."""
    for split in Split:
        for number, (_, pictures) in enumerate(shards(snapshot, split)):
            content = io.BytesIO()
            with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as archive:
                for picture in pictures:
                    for name, data in _members(picture):
                        member = tarfile.TarInfo(name)  # its time is 0: equal content gives equal bytes
                        member.size = len(data)
                        archive.addfile(member, io.BytesIO(data))
            yield f"{split}-{number:06d}.tar", content.getvalue()


def _members(picture: Picture) -> list[File]:
    about = {"image_id": picture.image_id, "label": picture.label}
    return [
        (f"{picture.image_id}.jpg", picture.jpeg),
        (f"{picture.image_id}.cls", str(picture.index).encode()),
        (f"{picture.image_id}.json", json.dumps(about, ensure_ascii=False).encode()),
    ]
