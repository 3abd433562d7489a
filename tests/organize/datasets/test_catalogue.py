"""`hub datasets`: list, show, compare, verify and delete, on snapshots that are written in the tests."""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from conf.sections import Lake
from conf.settings import Settings
from lake import row_writer
from lake.errors import DamagedSnapshot, DatasetInUse, UnknownDataset
from lake.locks import maintenance_lock
from lake.snapshot import MANIFEST, DatasetSnapshot, Split
from lake.table import Table
from models.registry import model_cards
from models.registry.model_cards import ModelCard, State
from organize.datasets import catalogue
from organize.datasets.verification import Problem, verify
from tests.support import tiny

A, B = "ds-a", "ds-b"


@pytest.fixture
def own(settings: Settings, tmp_path: Path) -> Iterator[Settings]:
    """A lake with the registered dataset A."""
    own = settings.model_copy(update={"lake": Lake(root=str(tmp_path / "lake"))})
    register(own, A, tiny.snapshot(own, A, (64, 8, 8), shard_rows=32))
    yield own


def register(own: Settings, dataset_id: str, snapshot: DatasetSnapshot) -> None:
    row = {
        "dataset_id": dataset_id,
        "filter": json.dumps(snapshot.filter),
        "seed": snapshot.seed,
        "table_versions": {"samples": 3, "uploads": 5},
        "labels": list(snapshot.labels),
        "counts": {split.value: snapshot.row_count(split) for split in Split},
        "path": snapshot.storage.root,
        "manifest_sha256": snapshot.sha256(),
        "created": datetime(2026, 11, 26, 12, 30, tzinfo=UTC),
        "left_out": {"label_conflict": 3},
        "sources": {"users": 2, "devices": 2, "batches": 1},
    }
    row_writer.append(own, Table.DATASETS, row)


def train(own: Settings, dataset_id: str) -> None:
    model_cards.write_card(own, ModelCard("m-1", dataset_id, "resnet20", 32, tiny.LABELS, state=State.READY))


def test_an_entry_has_counts_sources_what_was_left_out_and_models(own: Settings) -> None:
    train(own, A)
    entry, snapshot = catalogue.load(own, A)
    assert entry.counts == {"train": 64, "validation": 8, "test": 8}
    assert (entry.left_out, entry.sources["users"]) == ({"label_conflict": 3}, 2)
    assert (entry.table_versions, entry.models) == ({"samples": 3, "uploads": 5}, ("m-1",))
    assert catalogue.counts_by_label(snapshot)["red"] == {"train": 16, "validation": 2, "test": 2}


def test_unfinished_and_damaged_datasets_are_listed_with_what_is_wrong(own: Settings) -> None:
    unfinished = Path(own.lake.at("snapshots", "ds-half", "train", "00000.parquet"))
    unfinished.parent.mkdir(parents=True)
    unfinished.write_bytes(b"x")
    Path(own.lake.at("snapshots", A, MANIFEST)).unlink()
    problems = {entry.dataset_id: entry.problem for entry in catalogue.list_datasets(own)}
    assert "`hub organize` was stopped" in problems["ds-half"] and "cannot read" in problems[A]
    with pytest.raises(DamagedSnapshot, match=r"dataset ds-half: unfinished"):
        catalogue.load(own, "ds-half")


def test_an_unknown_dataset_is_one_line_with_the_newest(own: Settings) -> None:
    with pytest.raises(UnknownDataset, match="no dataset 'ds-x': the newest are ds-a"):
        catalogue.find(own, "ds-x")


def test_an_intact_dataset_is_verified(own: Settings) -> None:
    done = verify(catalogue.find(own, A))
    assert (done.shards, done.problems) == (4, ()) and done.bytes > 10_000


@pytest.mark.parametrize(
    ("damage", "path", "problem"),
    [
        ("alter", "train/00032.parquet", "altered: sha256 is "),
        ("delete", "train/00032.parquet", "missing"),
        ("add", "train/00099.parquet", "not in the manifest"),
        ("manifest", MANIFEST, "altered: sha256 is "),
        ("no manifest", MANIFEST, "no readable dataset snapshot"),
    ],
)
def test_an_altered_or_deleted_file_is_named(own: Settings, damage: str, path: str, problem: str) -> None:
    folder = Path(own.lake.at("snapshots", A))
    file = folder / path
    if damage == "alter":
        content = bytearray(file.read_bytes())
        content[1000] ^= 1
        file.write_bytes(content)
    elif damage in ("delete", "no manifest"):
        file.unlink()
    elif damage == "add":
        file.write_bytes(b"more")
    else:
        file.write_text(file.read_text().replace('"flip": ', '"flip":  '))
    (found,) = verify(catalogue.find(own, A)).problems
    assert isinstance(found, Problem) and found.path == path and problem in found.problem


def test_two_datasets_are_compared_image_by_image(own: Settings) -> None:
    one = {Split.TRAIN: [("1", 0), ("2", 1), ("3", 1)], Split.TEST: [("4", 0)]}
    other = {Split.TRAIN: [("1", 0), ("2", 0), ("4", 0)], Split.TEST: [("5", 2)]}
    for name, rows, labels in ((A, one, ("cat", "dog")), (B, other, ("cat", "dog", "owl"))):
        pictures = {split: [(*row, b"jpeg") for row in listed] for split, listed in rows.items()}
        tiny.write_snapshot(own, name, labels, pictures)
    found = catalogue.compare(own, A, B)
    assert (found.labels_only_in_a, found.labels_only_in_b) == ([], ["owl"])
    assert (found.images_only_in_a, found.images_only_in_b) == ({"train": 1}, {"test": 1})
    assert (found.moved, found.relabelled) == ({"test → train": 1}, {"dog → cat": 1})


def test_a_dataset_that_a_model_names_is_not_deleted(own: Settings) -> None:
    train(own, A)
    with pytest.raises(DatasetInUse, match="named by model m-1"):
        catalogue.delete(own, A, force=False)
    assert verify(catalogue.find(own, A)).problems == ()
    catalogue.delete(own, A, force=True)
    assert not Path(own.lake.at("snapshots", A)).exists()
    assert row_writer.read(own, Table.DATASETS, ["dataset_id"]) == []


def test_a_deletion_is_refused_while_the_lake_is_maintained_and_can_be_repeated(own: Settings) -> None:
    with maintenance_lock.held(own, "organize"), pytest.raises(Exception, match="hub organize"):
        catalogue.delete(own, A, force=False)
    Path(own.lake.at("snapshots", A, MANIFEST)).unlink()  # as if it was killed after the first step
    catalogue.delete(own, A, force=False)
    with pytest.raises(UnknownDataset, match="there is none yet"):
        catalogue.find(own, A)


def test_the_registered_hash_is_that_of_the_manifest(own: Settings) -> None:
    content = Path(own.lake.at("snapshots", A, MANIFEST)).read_bytes()
    assert catalogue.find(own, A).manifest_sha256 == hashlib.sha256(content).hexdigest()
