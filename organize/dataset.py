"""From samples to a dataset snapshot: choose, group, split, write, register."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from delta.tables import DeltaTable
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from conf.sections import Organize
from conf.settings import Settings
from lake import tables
from lake.errors import LakeError, NothingToOrganize, StorageError
from lake.label_hierarchy import Hierarchy
from lake.locks import maintenance_lock
from lake.schemas import LABEL_CONFLICT, USABLE, Table
from lake.snapshot import MANIFEST, Snapshot, Split
from lake.storage import Storage
from organize import shards
from organize.duplicates import with_duplicate_group
from organize.splits import split_of

_GROUP_COLUMNS = ["duplicate_group", "split"]


@dataclass(frozen=True)
class Organized:
    """A dataset and how it came about.

    Args:
        dataset_id: names the same content on every run.
        snapshot: where it lies and what is in it.
        counts: label to split to images.
        groups: duplicate groups among the chosen images.
        left_out: reason to images.
        manifest_sha256: hash of the manifest file (hex).
        reused: whether the snapshot was there already.
    """

    dataset_id: str
    snapshot: Snapshot
    counts: dict[str, dict[str, int]]
    groups: int
    left_out: dict[str, int]
    manifest_sha256: str
    reused: bool

    def totals(self) -> dict[str, int]:
        """Split to images."""
        return {split.value: self.snapshot.rows(split) for split in Split}


def organize(spark: SparkSession, settings: Settings, labels: Sequence[str] = ()) -> Organized:
    """Write a dataset of the labels asked for, or of all that are ready.

    The same samples, labels and settings give the same dataset id and manifest, byte for byte.

    Raises:
        NothingToOrganize: a label is unknown or has too few images, or none is ready.
        InUse: another organization or an erasure is at work.
        StorageError: the lake cannot be written.
    """
    _refuse_empty_lake(spark, settings)
    with maintenance_lock.held(settings, "organize") as refuse_if_lost:
        return _organized(spark, settings, labels, refuse_if_lost)


def _organized(
    spark: SparkSession, settings: Settings, labels: Sequence[str], refuse_if_lost: Callable[[], None]
) -> Organized:
    lake, plan = settings.lake, settings.organize
    # Samples first: ingestion commits to uploads before it does to samples, so the pictures of these samples
    # are in any version of uploads that is asked for later; in one asked for before they may not be.
    versions = {table.value: tables.version(spark, lake, table) for table in (Table.SAMPLES, Table.UPLOADS)}
    samples = with_split(tables.read(spark, lake, Table.SAMPLES, versions[Table.SAMPLES]), plan).persist()
    try:
        chosen_labels = _chosen_labels(samples, labels, settings.labels.ready_images)
        refuse_if_lost()
        _remember_groups(samples, settings)
        usable = samples.where(USABLE)
        chosen = usable.where(f.col("label").isin(chosen_labels))
        counts = _counts(chosen, chosen_labels)
        places = _places(chosen, chosen_labels, plan).persist()
        planned = _planned(settings, chosen_labels)
        organized = Organized(
            dataset_id=_dataset_id(planned, shards.digest(places), plan),
            snapshot=planned,
            counts=counts,
            groups=chosen.select("duplicate_group").distinct().count(),
            left_out=_left_out(samples, chosen_labels),
            manifest_sha256="",
            reused=False,
        )
        organized = _written(spark, settings, organized, places, versions[Table.UPLOADS], refuse_if_lost)
        places.unpersist()
    finally:
        samples.unpersist()
    _register(spark, settings, organized, versions)
    return organized


def with_split(samples: DataFrame, plan: Organize) -> DataFrame:
    """The samples with `duplicate_group` and `split`; old values of both are kept as `was_…`."""
    fractions, seed = plan.fractions, plan.seed

    @f.udf("string", useArrow=True)
    def split(group: str) -> str:
        return split_of(group, seed, fractions).value

    old = samples.withColumnsRenamed({name: f"was_{name}" for name in _GROUP_COLUMNS})
    return with_duplicate_group(old, plan.phash_distance).withColumn("split", split("duplicate_group"))


def _refuse_empty_lake(spark: SparkSession, settings: Settings) -> None:
    lake = settings.lake
    if not tables.exists(spark, lake, Table.SAMPLES) or tables.read(spark, lake, Table.SAMPLES).isEmpty():
        raise NothingToOrganize(f"no samples in {lake.root}: run `hub push` and `hub ingest --once` first")


def _chosen_labels(samples: DataFrame, asked: Sequence[str], ready_images: int) -> list[str]:
    usable = samples.where(USABLE)
    counted = {row.label: row["count"] for row in usable.groupBy("label").count().collect()}
    unknown = [label for label in asked if label not in counted]
    if unknown:
        raise NothingToOrganize(
            f"no images of label {unknown[0]!r}; there are {', '.join(sorted(counted)[:20])}"
        )
    chosen = sorted(set(asked)) or sorted(label for label, count in counted.items() if count >= ready_images)
    if not chosen:
        best = max(counted, key=lambda label: counted[label])
        raise NothingToOrganize(
            f"no label has {ready_images} images yet, {best!r} has most with {counted[best]}; "
            "name labels with --labels or set HUB__LABELS__READY_IMAGES"
        )
    return chosen


def _counts(chosen: DataFrame, labels: list[str]) -> dict[str, dict[str, int]]:
    rows = chosen.groupBy("label", "split").count().collect()
    counts = {label: dict.fromkeys(Split, 0) for label in labels}
    for row in rows:
        counts[row.label][Split(row.split)] = row["count"]
    for label, of_split in counts.items():
        if not of_split[Split.TRAIN]:
            raise NothingToOrganize(
                f"label {label!r} has {sum(of_split.values())} image(s), none of them to train on; "
                "push more of it or leave it out of --labels"
            )
    return {label: {split.value: n for split, n in of_split.items()} for label, of_split in counts.items()}


def _remember_groups(samples: DataFrame, settings: Settings) -> None:
    """Write groups and splits back to `samples`, only where they changed."""
    changed = samples.where(" OR ".join(f"NOT ({name} <=> was_{name})" for name in _GROUP_COLUMNS)).select(
        "image_id", *_GROUP_COLUMNS
    )
    if changed.isEmpty():
        return
    values = {name: f"new.{name}" for name in _GROUP_COLUMNS}
    tables.retried(  # whoever ingests writes samples, too
        lambda: (
            DeltaTable.forPath(samples.sparkSession, settings.lake.at(Table.SAMPLES))
            .alias("old")
            .merge(changed.alias("new"), "old.image_id = new.image_id")
            .whenMatchedUpdate(set=values)
            .execute()
        )
    )


def _left_out(samples: DataFrame, chosen: list[str]) -> dict[str, int]:
    reason = (
        f.when(f.array_contains("flags", LABEL_CONFLICT), LABEL_CONFLICT)
        .when(~f.col("label").isin(chosen), "label_not_chosen")
        .alias("reason")
    )
    rows = samples.select(reason).where("reason IS NOT NULL").groupBy("reason").count().collect()
    return {row.reason: row["count"] for row in rows}


def _places(chosen: DataFrame, labels: list[str], plan: Organize) -> DataFrame:
    index = f.array_position(f.array(*[f.lit(label) for label in labels]), f.col("label")) - 1
    keys = chosen.select("image_id", "upload_id", "split", index.cast("int").alias("label"))
    return shards.assign_shards(keys, plan.seed, plan.shard_rows)


def _planned(settings: Settings, labels: list[str]) -> Snapshot:
    plan = settings.organize
    return Snapshot(
        storage=Storage(settings.lake.at("snapshots"), settings.s3),
        labels=tuple(labels),
        shards={},
        flip=Hierarchy.read(settings.labels.file).may_flip(labels, plan.no_flip_parents),
        seed=plan.seed,
        filter={
            "labels": labels,
            "phash_distance": plan.phash_distance,
            "fractions": list(plan.fractions),
        },
    )


def _dataset_id(planned: Snapshot, places: str, plan: Organize) -> str:
    """Named by content: what is chosen, where it lies, and how it is cut."""
    content = planned.manifest() | {"places": places, "rows": [plan.shard_rows, plan.row_group_rows]}
    return "ds-" + hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _written(
    spark: SparkSession,
    settings: Settings,
    organized: Organized,
    places: DataFrame,
    uploads_version: int,
    refuse_if_lost: Callable[[], None],
) -> Organized:
    storage = organized.snapshot.storage.below(organized.dataset_id)
    reused = storage.exists(MANIFEST)
    if not reused:
        uploads = tables.read(spark, settings.lake, Table.UPLOADS, uploads_version)
        pictures = uploads.where("verdict = 'accepted'").select("image_id", "upload_id", "jpeg")
        with_pictures = places.join(pictures, ["image_id", "upload_id"])
        try:
            written = shards.write(with_pictures, storage, settings.organize.row_group_rows)
        except (PySparkException, Py4JJavaError) as error:
            raise StorageError(f"cannot write shards to {storage.root}: {tables.first_line(error)}") from None
        snapshot = replace(organized.snapshot, storage=storage, shards=written)
        expected = {split: sum(counts[split] for counts in organized.counts.values()) for split in Split}
        if any(snapshot.rows(split) != expected[split] for split in Split):
            raise LakeError(
                f"samples and uploads disagree: {sum(expected.values())} images chosen, "
                f"{sum(map(snapshot.rows, Split))} found in uploads; run `hub ingest --once`"
            )
        refuse_if_lost()
        # The manifest comes last: a folder without one is no snapshot, and a rerun writes it again.
        storage.write_json(MANIFEST, snapshot.manifest())
    snapshot = Snapshot.load(storage)
    return replace(organized, snapshot=snapshot, manifest_sha256=snapshot.sha256(), reused=reused)


def _register(
    spark: SparkSession, settings: Settings, organized: Organized, versions: dict[str, int]
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
