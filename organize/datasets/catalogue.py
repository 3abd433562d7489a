"""The datasets of a lake: list, find, compare, verify, delete. No Spark."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from conf.settings import Settings
from lake import row_writer
from lake.errors import DamagedSnapshot, DatasetInUse, StorageError, UnknownDataset
from lake.locks import maintenance_lock
from lake.snapshot import MANIFEST, DatasetSnapshot, Split
from lake.storage import Storage, is_plain_name
from lake.table import Table
from models.registry import model_cards
from organize.datasets.contents import DatasetContents

_COLUMNS = (
    "dataset_id", "table_versions", "counts", "path", "manifest_sha256", "created", "left_out", "sources",
)  # fmt: skip
_SHOWN = 5  # ids in an error message
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class DatasetEntry:
    """A dataset of the lake.

    Args:
        dataset_id: its id.
        storage: of its folder.
        snapshot: None if the manifest is missing or damaged.
        problem: why there is no snapshot; empty otherwise.
        counts: split to images.
        created: when it was organized; None if the table `datasets` has no row of it.
        table_versions: of the tables that it was made of.
        left_out: reason to images that were not chosen.
        sources: users, devices and batches: how many the images are from.
        manifest_sha256: as registered (hex); empty without a row.
        models: ids of the models that name it, newest first.
    """

    dataset_id: str
    storage: Storage
    snapshot: DatasetSnapshot | None
    problem: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    created: datetime | None = None
    table_versions: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)
    manifest_sha256: str = ""
    models: tuple[str, ...] = ()


@dataclass(frozen=True)
class Difference:
    """How dataset B differs from dataset A.

    Args:
        labels_only_in_a, labels_only_in_b: labels.
        images_only_in_a, images_only_in_b: split to number of images.
        moved: `split → split` to number of images that are in both, in different splits.
        relabelled: `label → label` to number of images that are in both, with different labels.
        settings: key of filter or seed to its values in A and B.
    """

    labels_only_in_a: list[str]
    labels_only_in_b: list[str]
    images_only_in_a: dict[str, int]
    images_only_in_b: dict[str, int]
    moved: dict[str, int]
    relabelled: dict[str, int]
    settings: dict[str, list[object]]


def list_datasets(settings: Settings) -> list[DatasetEntry]:
    """All datasets, newest first, with unfinished and damaged ones."""
    rows = {row["dataset_id"]: row for row in row_writer.read(settings, Table.DATASETS, _COLUMNS)}
    folder = Storage(settings.lake.at("snapshots"), settings.s3)
    users: dict[str, list[str]] = {}
    for card in model_cards.all_cards(settings):
        users.setdefault(card.dataset_id, []).append(card.model_id)
    entries = [
        _entry(name, folder.subfolder(name), rows.get(name), users.get(name, []))
        for name in {*rows, *folder.list_folders()}
    ]
    return sorted(entries, key=lambda each: (each.created or _EPOCH, each.dataset_id), reverse=True)


def find(settings: Settings, dataset_id: str) -> DatasetEntry:
    """A dataset by its id.

    Raises:
        UnknownDataset: there is none; the message names the newest.
    """
    entries = list_datasets(settings)
    for entry in entries:
        if entry.dataset_id == dataset_id:
            return entry
    newest = ", ".join(entry.dataset_id for entry in entries[:_SHOWN])
    hint = f"the newest are {newest}" if newest else "there is none yet, `hub organize` makes one"
    raise UnknownDataset(f"no dataset {dataset_id!r}: {hint}")


def load(settings: Settings, dataset_id: str) -> tuple[DatasetEntry, DatasetSnapshot]:
    """A dataset and its snapshot.

    Raises:
        UnknownDataset: there is none.
        DamagedSnapshot: its manifest cannot be read.
    """
    entry = find(settings, dataset_id)
    if entry.snapshot is None:
        raise DamagedSnapshot(f"dataset {dataset_id}: {entry.problem}")
    return entry, entry.snapshot


def counts_by_label(snapshot: DatasetSnapshot) -> dict[str, dict[str, int]]:
    """Label to split to number of images.

    Raises:
        DamagedSnapshot: a shard cannot be read.
    """
    counts: dict[str, dict[str, int]] = {label: {} for label in snapshot.labels}
    for split in Split:
        total = np.zeros(len(snapshot.labels), np.int64)
        for indices in snapshot.column(split, "label"):
            total += np.bincount(indices.to_numpy(), minlength=len(total))
        for label, images in zip(snapshot.labels, total.tolist(), strict=True):
            counts[label][split.value] = images
    return counts


def compare(settings: Settings, first: str, second: str) -> Difference:
    """Compare two datasets image by image.

    Raises:
        UnknownDataset, DamagedSnapshot: a dataset does not exist or cannot be read.
    """
    (_, one), (_, other) = load(settings, first), load(settings, second)
    before, after = DatasetContents.read(one).places(), DatasetContents.read(other).places()
    both = [(before[image], after[image]) for image in before.keys() & after.keys()]
    labels = set(one.labels), set(other.labels)
    ours, theirs = one.filter | {"seed": one.seed}, other.filter | {"seed": other.seed}
    return Difference(
        labels_only_in_a=sorted(labels[0] - labels[1]),
        labels_only_in_b=sorted(labels[1] - labels[0]),
        images_only_in_a=_count(before[image][1] for image in before.keys() - after.keys()),
        images_only_in_b=_count(after[image][1] for image in after.keys() - before.keys()),
        moved=_count(f"{a[1]} → {b[1]}" for a, b in both if a[1] != b[1]),
        relabelled=_count(f"{a[0]} → {b[0]}" for a, b in both if a[0] != b[0]),
        settings={
            key: [ours.get(key), theirs.get(key)]
            for key in sorted({*ours, *theirs})
            if ours.get(key) != theirs.get(key)
        },
    )


def delete(settings: Settings, dataset_id: str, force: bool) -> DatasetEntry:
    """Delete a dataset: its manifest, its shards, then its row. A deletion that was killed can be repeated.

    Args:
        force: even if models name it.

    Raises:
        UnknownDataset: there is none.
        DatasetInUse: a model names it.
        InUse: `hub organize` or an erasure is running.
    """
    entry = find(settings, dataset_id)
    if entry.models and not force:
        others = f" and {len(entry.models) - 1} more" if len(entry.models) > 1 else ""
        raise DatasetInUse(
            f"dataset {dataset_id} is named by model {entry.models[0]}{others}, which could not be evaluated "
            "again without it; --force deletes it nevertheless"
        )
    if not is_plain_name(dataset_id):
        raise UnknownDataset(f"{dataset_id!r} is no id of a dataset")
    with maintenance_lock.held(settings, "datasets delete") as refuse_if_lost:
        refuse_if_lost()
        with suppress(StorageError):  # it may be missing
            entry.storage.delete_files(MANIFEST)
        entry.storage.delete_all()
        row_writer.delete(settings, Table.DATASETS, f"dataset_id = {row_writer.literal(dataset_id)}")
    return entry


def _entry(name: str, storage: Storage, row: dict[str, Any] | None, models: list[str]) -> DatasetEntry:
    snapshot, problem = None, ""
    try:
        snapshot = DatasetSnapshot.load(storage)
    except DamagedSnapshot as error:
        unfinished = row is None and not storage.exists(MANIFEST)
        problem = "unfinished: `hub organize` was stopped while it wrote" if unfinished else str(error)
    row = row or {}
    counts = (
        {split.value: snapshot.row_count(split) for split in Split} if snapshot else _map(row.get("counts"))
    )
    return DatasetEntry(
        dataset_id=name,
        storage=storage,
        snapshot=snapshot,
        problem=problem,
        counts=counts,
        created=row.get("created"),
        table_versions=_map(row.get("table_versions")),
        left_out=_map(row.get("left_out")),
        sources=_map(row.get("sources")),
        manifest_sha256=row.get("manifest_sha256") or "",
        models=tuple(models),
    )


def _map(pairs: Any) -> dict[str, int]:
    """A map column as a dict; Arrow gives pairs."""
    return dict(pairs or {})


def _count(names: Any) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))
