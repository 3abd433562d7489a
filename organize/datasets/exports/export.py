"""Exports a dataset: the files of a format, the dataset card, and a manifest as the last file."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from conf.settings import Settings
from lake.native_output import stderr_to
from lake.snapshot import DatasetSnapshot, Split
from models import tensorflow_import
from models.inference import export_target
from models.inference.export_target import File
from organize.datasets import catalogue
from organize.datasets.cards import card
from organize.datasets.cards.facts import DatasetFacts
from organize.datasets.exports import coco, folder, huggingface, tfrecord, webdataset

MANIFEST = "dataset.json"  # written last: without it an export is incomplete


class Format(StrEnum):
    """A format of exports."""

    FOLDER = "folder"
    TFRECORD = "tfrecord"
    WEBDATASET = "webdataset"
    HUGGINGFACE = "huggingface"
    COCO = "coco"


_FILES: dict[Format, Callable[[DatasetSnapshot], Iterator[File]]] = {
    Format.FOLDER: folder.files,
    Format.TFRECORD: tfrecord.files,
    Format.WEBDATASET: webdataset.files,
    Format.HUGGINGFACE: huggingface.files,
    Format.COCO: coco.files,
}


@dataclass(frozen=True)
class Export:
    """A finished export.

    Args:
        path: absolute path or URI.
        format: of the files.
        images: in all splits.
        files, bytes: that were written, with card and manifest.
        seconds: that it took.
    """

    path: str
    format: Format
    images: int
    files: int
    bytes: int
    seconds: float


def export(settings: Settings, dataset_id: str, kind: Format, to: str) -> Export:
    """Write a dataset in another format, all or nothing. Every shard is verified while it is read.

    Args:
        to: a folder that does not exist or is empty, or an s3:// prefix without objects.

    Raises:
        UnknownDataset, DamagedSnapshot: it does not exist, or a shard is missing or altered.
        ExportRefused: the target is used.
        InUse: another export writes to this prefix.
        StorageError: a file cannot be written.
    """
    began = time.monotonic()
    entry, snapshot = catalogue.load(settings, dataset_id)
    facts = DatasetFacts.of(settings, entry, snapshot)
    images = sum(map(snapshot.row_count, Split))
    if kind is Format.TFRECORD:
        with stderr_to(settings.logs.dir / "tensorflow.out"):
            tensorflow_import.load()
    written = export_target.write(to, _all_files(facts, snapshot, kind), settings, "datasets export")
    seconds = time.monotonic() - began
    return Export(written.path, kind, images, written.files, written.bytes, seconds)


def _all_files(facts: DatasetFacts, snapshot: DatasetSnapshot, kind: Format) -> Iterator[File]:
    yield from _FILES[kind](snapshot)
    yield "labels.txt", "".join(f"{label}\n" for label in snapshot.labels).encode()
    yield from card.files(facts, snapshot, kind)
    manifest = {
        "dataset_id": facts.dataset_id,
        "format": kind,
        "labels": list(snapshot.labels),
        "images": {split: snapshot.row_count(split) for split in Split},
        "manifest_sha256": snapshot.sha256(),
    }
    yield MANIFEST, (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode()
