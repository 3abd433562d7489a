"""Datasets from samples: groups, splits, a choice, a dataset snapshot, its row in the table `datasets`."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from conf.choices import SplitBy
from conf.settings import Settings
from lake import tables
from lake.errors import NothingToOrganize
from lake.locks import commit_lease, maintenance_lock
from lake.snapshot import MANIFEST, DatasetSnapshot, Split
from lake.table import Table
from organize.datasets import choice, snapshot_writer
from organize.datasets.choice import GROUP
from organize.datasets.label_choice import choose_labels
from organize.datasets.selection import Selection, class_weights
from organize.duplicates.perceptual_hash import with_duplicate_group
from organize.splits import new_splits, remembered

_SAVED = ("duplicate_group", "split")


@dataclass(frozen=True)
class OrganizedDataset:
    """The result of `organize`: a dataset and its counts.

    Args:
        dataset_id: hash of the content; equal content has the same id.
        snapshot: the dataset snapshot.
        counts: label to split to number of images.
        groups: duplicate groups among the chosen images.
        left_out: reason to number of images that were not chosen.
        sources: users, devices and batches: how many the chosen images are from.
        remembered: number of chosen images that keep the split of an earlier run.
        manifest_sha256: hash of the manifest file (hex).
        reused: whether the dataset snapshot existed already.
    """

    dataset_id: str
    snapshot: DatasetSnapshot
    counts: dict[str, dict[str, int]]
    groups: int
    left_out: dict[str, int]
    sources: dict[str, int]
    remembered: int
    manifest_sha256: str
    reused: bool

    def totals(self) -> dict[str, int]:
        """Split to number of images."""
        return {split.value: self.snapshot.row_count(split) for split in Split}


@dataclass(frozen=True)
class SplitChange:
    """Whether remembered splits are forgotten and all images split anew, even if a model was trained."""

    new_splits: bool = False
    force: bool = False


def organize(
    spark: SparkSession,
    settings: Settings,
    labels: Sequence[str] = (),
    selection: Selection | None = None,
    change: SplitChange | None = None,
) -> OrganizedDataset:
    """Create the dataset of the given labels, or of all ready labels; reuse it if it exists.

    The same samples, labels and settings give the same dataset id and manifest, byte for byte.

    Args:
        labels: slugs; a label of the hierarchy takes what lies below it.
        selection: which images of the labels.
        change: of remembered splits; None keeps them.

    Raises:
        NothingToOrganize: a label is unknown or has too few images, no label is ready, or nothing is left.
        BadQuery: the condition cannot be used.
        SplitsInUse: splits shall change, and a model was trained on them.
        InUse: another `hub organize` or an erasure is running.
        StorageError: the lake cannot be written.
    """
    change = change or SplitChange()
    if change.new_splits:
        new_splits.refuse_new_splits(settings, change.force)
    _refuse_empty_lake(spark, settings)
    with maintenance_lock.held(settings, "organize") as refuse_if_lost:
        return _Run(spark, settings, selection or Selection(), change, refuse_if_lost).organize(labels)


def _refuse_empty_lake(spark: SparkSession, settings: Settings) -> None:
    lake = settings.lake
    if not tables.exists(spark, lake, Table.SAMPLES) or tables.read(spark, lake, Table.SAMPLES).isEmpty():
        raise NothingToOrganize(f"no samples in {lake.root}: run `hub push` and `hub ingest --once` first")


@dataclass(frozen=True)
class _Run:
    """One run of `organize`, which holds the maintenance lock."""

    spark: SparkSession
    settings: Settings
    selection: Selection
    change: SplitChange
    refuse_if_lost: Callable[[], None]

    def organize(self, labels: Sequence[str]) -> OrganizedDataset:
        lake = self.settings.lake
        # Read the version of samples first. Ingestion commits to uploads before samples, so a version of
        # uploads that is read later contains the pictures of these samples; an earlier one may not.
        versions = {
            table.value: tables.version(self.spark, lake, table) for table in (Table.SAMPLES, Table.UPLOADS)
        }
        samples = self._samples(versions[Table.SAMPLES]).persist()
        try:
            chosen_labels = choose_labels(samples, labels, self.settings)
            self.refuse_if_lost()
            if self.change.new_splits:
                new_splits.begin_generation(self.settings)
            self._save(samples)
            uploads = tables.read(self.spark, lake, Table.UPLOADS, versions[Table.UPLOADS])
            organized = self._write(samples, chosen_labels, uploads)
        finally:
            samples.unpersist()
        _register(self.spark, self.settings, organized, versions)
        return organized

    def _samples(self, version: int) -> DataFrame:
        """All samples with groups, splits, and the reason why some cannot be chosen."""
        config = self.settings.organize
        known = tables.read(self.spark, self.settings.lake, Table.SAMPLES, version)
        known = choice.with_matches(known, self.selection.where)
        erased = tables.read_complete(self.spark, self.settings.lake, Table.ERASED_SPLITS)
        if self.change.new_splits:
            known, erased = known.withColumn("split", f.lit(None).cast("string")), erased.limit(0)
        old = known.withColumnRenamed("duplicate_group", "was_duplicate_group")
        grouped = with_duplicate_group(old, config.phash_distance)
        judged = choice.with_reason(grouped, self.selection)
        return remembered.with_splits(judged, erased, config, choice.MAY_BE_CHOSEN)

    def _save(self, samples: DataFrame) -> None:
        """Update groups and splits in the table `samples`, for rows in which they changed."""
        changed = samples.where(" OR ".join(f"NOT ({name} <=> was_{name})" for name in _SAVED))
        changed = (samples if self.change.new_splits else changed).select("image_id", *_SAVED)
        if not changed.isEmpty():
            turn = commit_lease.held(self.settings, Table.SAMPLES)
            tables.update(self.spark, self.settings.lake, Table.SAMPLES, changed, "image_id", turn=turn)

    def _write(self, samples: DataFrame, labels: list[str], uploads: DataFrame) -> OrganizedDataset:
        config = self.settings.organize
        picked = choice.choose(samples, labels, self.selection, config, uploads)
        chosen = picked.samples
        counts = _count_images(chosen, labels, config.split_by)
        weights = class_weights(
            self.selection.weights, {label: by_split[Split.TRAIN] for label, by_split in counts.items()}
        )
        figures = _figures(chosen, config.split_by)
        assignment = snapshot_writer.assign_shards(chosen, labels, config).persist()
        try:
            planned = snapshot_writer.plan_snapshot(self.settings, labels, self.selection, weights)
            dataset_id = snapshot_writer.dataset_id(planned, assignment, config)
            planned = replace(planned, storage=planned.storage.subfolder(dataset_id))
            reused = planned.storage.exists(MANIFEST)
            if reused:
                snapshot = DatasetSnapshot.load(planned.storage)
            else:
                expected = {split: sum(by_split[split] for by_split in counts.values()) for split in Split}
                snapshot = snapshot_writer.write_snapshot(
                    planned, assignment, uploads, expected, config.row_group_rows, self.refuse_if_lost
                )
        finally:
            assignment.unpersist()
        return OrganizedDataset(
            dataset_id=dataset_id,
            snapshot=snapshot,
            counts=counts,
            groups=figures.pop("groups"),
            left_out=picked.left_out,
            remembered=figures.pop("remembered"),
            sources=figures,
            manifest_sha256=snapshot.sha256(),
            reused=reused,
        )


def _count_images(chosen: DataFrame, labels: list[str], split_by: SplitBy) -> dict[str, dict[str, int]]:
    rows = chosen.groupBy("label", "split").count().collect()
    counts = {label: dict.fromkeys(Split, 0) for label in labels}
    for row in rows:
        counts[row.label][Split(row.split)] = row["count"]
    for label, by_split in counts.items():
        if not by_split[Split.TRAIN] and split_by is SplitBy.GROUP:
            raise NothingToOrganize(
                f"label {label!r} has {sum(by_split.values())} image(s), none in the training split; "
                "push more of it, or remove it from --labels"
            )
    return {label: {split.value: n for split, n in by_split.items()} for label, by_split in counts.items()}


def _figures(chosen: DataFrame, split_by: SplitBy) -> dict[str, int]:
    """Numbers of groups, of images that keep their split, of users, devices and batches."""
    sources = [f.count_distinct(name).alias(plural) for name, plural in _SOURCES.items()]
    kept = f.expr("was_split = split") if split_by is SplitBy.GROUP else f.lit(False)
    numbers = [f.count_distinct(f.expr(GROUP)).alias("groups"), f.count_if(kept).alias("remembered")]
    row = chosen.agg(*numbers, *sources).collect()[0]
    return {name: int(value) for name, value in row.asDict().items()}


_SOURCES = {"user": "users", "device": "devices", "batch": "batches"}


def _register(
    spark: SparkSession, settings: Settings, organized: OrganizedDataset, versions: dict[str, int]
) -> None:
    tables.create_or_extend(spark, settings.lake, Table.DATASETS)
    datasets = tables.read(spark, settings.lake, Table.DATASETS)
    if not datasets.where(f.col("dataset_id") == organized.dataset_id).isEmpty():
        return
    row = {
        "dataset_id": organized.dataset_id,
        "filter": json.dumps(organized.snapshot.filter),
        "seed": organized.snapshot.seed,
        "table_versions": versions,
        "labels": list(organized.snapshot.labels),
        "counts": organized.totals(),
        "path": organized.snapshot.storage.root,
        "manifest_sha256": organized.manifest_sha256,
        "created": datetime.now(UTC),
        "left_out": organized.left_out,
        "sources": organized.sources,
    }
    tables.upsert(spark, settings.lake, Table.DATASETS, [row], "dataset_id")
