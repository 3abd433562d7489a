"""The files of a dataset card: README.md, croissant.json and a sheet of sample pictures."""

import json
from collections.abc import Iterator

from conf.settings import Settings
from lake.snapshot import DatasetSnapshot
from organize.datasets import catalogue
from organize.datasets.cards import markdown
from organize.datasets.cards.croissant import PARQUET, SHARDS, FileLayout, croissant
from organize.datasets.cards.facts import DatasetFacts
from organize.datasets.cards.sample_sheet import sample_sheet

SHEET = "samples.jpg"
_HUGGINGFACE = "huggingface"
_LAYOUTS = {
    "folder": FileLayout("*/*/*.jpg", "image/jpeg"),
    "tfrecord": FileLayout("*.tfrecord", "application/octet-stream"),
    "webdataset": FileLayout("*.tar", "application/x-tar"),
    _HUGGINGFACE: FileLayout(
        "data/*.parquet", PARQUET, image="image", subfield="bytes", split=r".*?([a-z]+)-\d+-of-\d+\.parquet$"
    ),
    "coco": FileLayout("images/*/*.jpg", "image/jpeg"),
}


def card(settings: Settings, dataset_id: str) -> Iterator[tuple[str, bytes]]:
    """The card of a dataset whose files are the shards of its snapshot.

    Yields:
        name and content of each file.

    Raises:
        UnknownDataset, DamagedSnapshot: it does not exist or cannot be read.
    """
    entry, snapshot = catalogue.load(settings, dataset_id)
    yield from files(DatasetFacts.of(settings, entry, snapshot), snapshot, "")


def files(facts: DatasetFacts, snapshot: DatasetSnapshot, export: str) -> Iterator[tuple[str, bytes]]:
    """The card's files.

    Args:
        export: format of the files that the card lies beside; empty for the snapshot itself.
    """
    before = markdown.front_matter(facts) if export == _HUGGINGFACE else ""
    yield SHEET, sample_sheet(snapshot, facts.dataset_id)
    yield "README.md", (before + markdown.markdown(facts, SHEET)).encode()
    described = croissant(facts, snapshot, _LAYOUTS[export] if export else SHARDS)
    yield "croissant.json", (json.dumps(described, indent=1, ensure_ascii=False) + "\n").encode()
