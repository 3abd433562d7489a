"""Datasets from samples: group near duplicates, split, write a dataset snapshot, register it."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from conf.choices import SplitBy
from conf.organize_section import Organize
from conf.settings import Settings
from lake import tables
from lake.errors import LakeError, NothingToOrganize, StorageError
from lake.label_hierarchy import Hierarchy
from lake.locks import maintenance_lock
from lake.schemas import LABEL_CONFLICT, NONE_OF_THESE, USABLE
from lake.snapshot import MANIFEST, DatasetSnapshot, Split
from lake.storage import Storage
from lake.table import Table
from organize.datasets import shards
from organize.duplicates.perceptual_hash import save_groups, with_split
from organize.splits.fractions import split_labels
from organize.splits.label_splits import with_label_split


@dataclass(frozen=True)
class OrganizedDataset:
    """The result of `organize`: a dataset and its counts.

    Args:
        dataset_id: hash of the content; equal content has the same id.
        snapshot: the dataset snapshot.
        counts: label to split to number of images.
        groups: duplicate groups among the chosen images.
        left_out: reason to number of images that were not chosen.
        manifest_sha256: hash of the manifest file (hex).
        reused: whether the dataset snapshot existed already.
    """

    dataset_id: str
    snapshot: DatasetSnapshot
    counts: dict[str, dict[str, int]]
    groups: int
    left_out: dict[str, int]
    manifest_sha256: str
    reused: bool

    def totals(self) -> dict[str, int]:
        """Split to number of images."""
        return {split.value: self.snapshot.row_count(split) for split in Split}


def organize(spark: SparkSession, settings: Settings, labels: Sequence[str] = ()) -> OrganizedDataset:
    """Create the dataset of the given labels, or of all ready labels; reuse it if it exists.

    The same samples, labels and settings give the same dataset id and manifest, byte for byte.

    Raises:
        NothingToOrganize: a label is unknown or has too few images, or no label is ready.
        InUse: another `hub organize` or an erasure is running.
        StorageError: the lake cannot be written.
    """
    _refuse_empty_lake(spark, settings)
    with maintenance_lock.held(settings, "organize") as refuse_if_lost:
        return _organize_locked(spark, settings, labels, refuse_if_lost)


def _organize_locked(
    spark: SparkSession, settings: Settings, labels: Sequence[str], refuse_if_lost: Callable[[], None]
) -> OrganizedDataset:
    lake, config = settings.lake, settings.organize
    # Read the version of samples first. Ingestion commits to uploads before samples, so a version of uploads
    # that is read later contains the pictures of these samples; an earlier one may not.
    versions = {table.value: tables.version(spark, lake, table) for table in (Table.SAMPLES, Table.UPLOADS)}
    samples = with_split(tables.read(spark, lake, Table.SAMPLES, versions[Table.SAMPLES]), config).persist()
    try:
        chosen_labels = _chosen_labels(samples, labels, settings.labels.ready_images)
        refuse_if_lost()
        save_groups(samples, settings)
        chosen, left_out = _choose(samples, chosen_labels, config)
        counts = _count_images(chosen, chosen_labels, config)
        assignment = _assign_shards(chosen, chosen_labels, config).persist()
        planned = _plan_snapshot(settings, chosen_labels)
        organized = OrganizedDataset(
            dataset_id=_dataset_id(planned, shards.digest(assignment), config),
            snapshot=planned,
            counts=counts,
            groups=chosen.select("duplicate_group").distinct().count(),
            left_out=left_out,
            manifest_sha256="",
            reused=False,
        )
        organized = _write_snapshot(
            spark, settings, organized, assignment, versions[Table.UPLOADS], refuse_if_lost
        )
        assignment.unpersist()
    finally:
        samples.unpersist()
    _register(spark, settings, organized, versions)
    return organized


def _refuse_empty_lake(spark: SparkSession, settings: Settings) -> None:
    lake = settings.lake
    if not tables.exists(spark, lake, Table.SAMPLES) or tables.read(spark, lake, Table.SAMPLES).isEmpty():
        raise NothingToOrganize(f"no samples in {lake.root}: run `hub push` and `hub ingest --once` first")


def _chosen_labels(samples: DataFrame, requested: Sequence[str], ready_images: int) -> list[str]:
    usable = samples.where(USABLE)
    counts = {row.label: row["count"] for row in usable.groupBy("label").count().collect()}
    unknown = [label for label in requested if label not in counts]
    if unknown:
        raise NothingToOrganize(
            f"no images of label {unknown[0]!r}; there are {', '.join(sorted(counts)[:20])}"
        )
    chosen = sorted(set(requested)) or sorted(
        label for label, count in counts.items() if count >= ready_images
    )
    if not chosen:
        best = max(counts, key=lambda label: counts[label])
        raise NothingToOrganize(
            f"no label has {ready_images} images yet; the largest, {best!r}, has {counts[best]}: "
            "give labels with --labels, or set HUB__LABELS__READY_IMAGES"
        )
    return chosen


def _choose(samples: DataFrame, labels: list[str], config: Organize) -> tuple[DataFrame, dict[str, int]]:
    """The samples of the dataset with their splits; and reason to number of images that were left out."""
    chosen = samples.where(USABLE).where(f.col("label").isin(labels))
    left_out = _count_left_out(samples, labels)
    if config.split_by is SplitBy.GROUP:
        return chosen, left_out
    kept = with_label_split(chosen, split_labels(labels, config.seed, config.fractions))
    near = chosen.count() - kept.count()
    return kept, left_out | ({"near_duplicate_in_another_split": near} if near else {})


def _count_images(chosen: DataFrame, labels: list[str], config: Organize) -> dict[str, dict[str, int]]:
    rows = chosen.groupBy("label", "split").count().collect()
    counts = {label: dict.fromkeys(Split, 0) for label in labels}
    for row in rows:
        counts[row.label][Split(row.split)] = row["count"]
    for label, by_split in counts.items():
        if not by_split[Split.TRAIN] and config.split_by is SplitBy.GROUP:
            raise NothingToOrganize(
                f"label {label!r} has {sum(by_split.values())} image(s), none in the training split; "
                "push more of it, or remove it from --labels"
            )
    return {label: {split.value: n for split, n in by_split.items()} for label, by_split in counts.items()}


def _count_left_out(samples: DataFrame, chosen: list[str]) -> dict[str, int]:
    reason = (
        f.when(f.array_contains("flags", LABEL_CONFLICT), LABEL_CONFLICT)
        .when(f.array_contains("flags", NONE_OF_THESE), NONE_OF_THESE)
        .when(~f.col("label").isin(chosen), "label_not_chosen")
        .alias("reason")
    )
    rows = samples.select(reason).where("reason IS NOT NULL").groupBy("reason").count().collect()
    return {row.reason: row["count"] for row in rows}


def _assign_shards(chosen: DataFrame, labels: list[str], config: Organize) -> DataFrame:
    index = f.array_position(f.array(*[f.lit(label) for label in labels]), f.col("label")) - 1
    keys = chosen.select("image_id", "upload_id", "split", index.cast("int").alias("label"))
    return shards.assign_shards(keys, config.seed, config.shard_rows)


def _plan_snapshot(settings: Settings, labels: list[str]) -> DatasetSnapshot:
    """The snapshot without its shards, from which the dataset id is computed."""
    config = settings.organize
    return DatasetSnapshot(
        storage=Storage(settings.lake.at("snapshots"), settings.s3),
        labels=tuple(labels),
        shards={},
        flip=Hierarchy.read(settings.labels.file).may_flip(labels, config.no_flip_parents),
        seed=config.seed,
        filter={
            "labels": labels,
            "phash_distance": config.phash_distance,
            "fractions": list(config.fractions),
        }
        # Only where it is not by group, so that the ids of older datasets stay.
        | ({"split_by": config.split_by.value} if config.split_by is not SplitBy.GROUP else {}),
    )


def _dataset_id(planned: DatasetSnapshot, assignment_digest: str, config: Organize) -> str:
    """Hash of the content: the chosen samples, their shards and positions, and the sizes of shards."""
    sizes = [config.shard_rows, config.row_group_rows]
    content = planned.manifest() | {"places": assignment_digest, "rows": sizes}
    return "ds-" + hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _write_snapshot(
    spark: SparkSession,
    settings: Settings,
    organized: OrganizedDataset,
    assignment: DataFrame,
    uploads_version: int,
    refuse_if_lost: Callable[[], None],
) -> OrganizedDataset:
    storage = organized.snapshot.storage.subfolder(organized.dataset_id)
    reused = storage.exists(MANIFEST)
    if not reused:
        uploads = tables.read(spark, settings.lake, Table.UPLOADS, uploads_version)
        pictures = uploads.where("verdict = 'accepted'").select("image_id", "upload_id", "jpeg")
        with_pictures = assignment.join(pictures, ["image_id", "upload_id"])
        try:
            written = shards.write(with_pictures, storage, settings.organize.row_group_rows)
        except (PySparkException, Py4JJavaError) as error:
            raise StorageError(f"cannot write shards to {storage.root}: {tables.first_line(error)}") from None
        snapshot = replace(organized.snapshot, storage=storage, shards=written)
        expected = {split: sum(counts[split] for counts in organized.counts.values()) for split in Split}
        if any(snapshot.row_count(split) != expected[split] for split in Split):
            raise LakeError(
                f"samples and uploads do not match: {sum(expected.values())} images chosen, "
                f"{sum(map(snapshot.row_count, Split))} found in uploads; run `hub ingest --once`"
            )
        refuse_if_lost()
        # The manifest is written last: a folder without it is incomplete, and a rerun overwrites it.
        storage.write_json(MANIFEST, snapshot.manifest())
    snapshot = DatasetSnapshot.load(storage)
    return replace(organized, snapshot=snapshot, manifest_sha256=snapshot.sha256(), reused=reused)


def _register(
    spark: SparkSession, settings: Settings, organized: OrganizedDataset, versions: dict[str, int]
) -> None:
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
    }
    tables.upsert(spark, settings.lake, Table.DATASETS, [row], "dataset_id")
