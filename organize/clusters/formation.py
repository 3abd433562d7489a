"""Forms the clusters of a lake anew, and gives every sample its cluster; ids stay where clusters stay.

Docs: docs/decisions/027-clusters-and-label-checks.md.
"""

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from conf.settings import Settings
from lake import tables
from lake.locks.organize_lock import Turn
from lake.schemas import NONE_OF_THESE, SCHEMAS
from lake.table import Table
from organize.clusters import centroids, completion, fitting, matching
from organize.clusters.assignment import assign
from organize.clusters.centroids import Cluster
from organize.clusters.suggestion import leave_clusters, save_assignment
from organize.errors import NothingToCheck
from organize.features import embeddings
from organize.features.vectors import to_vectors
from organize.unchanged import refuse_if_erased


@dataclass(frozen=True)
class Formed:
    """The result of a formation.

    Args:
        clusters: all of them, sorted by id.
        images: samples that have an embedding.
        kept: clusters that continue one of before.
        labels_without: labels with too few images for clusters of their own.
    """

    clusters: tuple[Cluster, ...]
    images: int
    kept: int
    labels_without: tuple[str, ...]


def form(spark: SparkSession, settings: Settings, model_id: str, turn: Turn = nullcontext) -> Formed:
    """Form the clusters of each label and of all labels, and update `clusters` and `samples`.

    The same samples give the same tables, also after an interruption: centroids start from nothing, and their
    ids come from the clusters before, which they then equal. Images that arrive meanwhile get a cluster, too.

    Args:
        turn: holds up the organizing of new images; it is held while the clusters change, not while they are
            computed, which takes most of the time.

    Raises:
        NothingToCheck: there are fewer embeddings than a cluster needs.
        ErasedMeanwhile: an image of which the clusters were computed is gone; nothing was changed.
    """
    if tables.exists(spark, settings.lake, Table.SAMPLES):
        with turn():
            tables.create(spark, settings.lake)  # a lake of an older hub lacks columns
    pictures = _pictures(spark, settings, model_id).persist()
    try:
        # Pinned: a merge of this session into `samples` makes Spark read `pictures` again, with newer rows.
        known = pictures.select("image_id", "label").localCheckpoint()
        sizes = {row.label: row["count"] for row in known.groupBy("label").count().collect()}
        clusters, kept, without = _computed(spark, settings, model_id, pictures, sizes)
        assigned = assign(pictures, centroids.by_label(clusters)).localCheckpoint()
    finally:
        pictures.unpersist()
    # In one turn: an erasure finds the clusters of a user by the samples, which must name those of the table.
    with turn():
        refuse_if_erased(spark, settings, known)
        completion.begin(settings, model_id)
        _write(spark, settings, clusters)
        save_assignment(spark, settings, assigned, clusters)
        _assign_changed(spark, settings, model_id, known, clusters)
        leave_clusters(spark, settings)
        completion.finish(settings, model_id)
    return Formed(tuple(clusters), sum(sizes.values()), kept, without)


def _computed(
    spark: SparkSession, settings: Settings, model_id: str, pictures: DataFrame, sizes: dict[str | None, int]
) -> tuple[list[Cluster], int, tuple[str, ...]]:
    """The clusters, the number that continue one of before, and labels with too few images."""
    config, total = settings.clusters, sum(sizes.values())
    if total < config.min_images:
        raise NothingToCheck(
            f"{total:,} samples have an embedding of {model_id}, clusters need {config.min_images:,}: "
            "run `hub organize --once` after more uploads, or set HUB__CLUSTERS__MIN_IMAGES"
        )
    labels = [label for label, size in sizes.items() if label and size >= config.min_images]
    found = fitting.fit_labels(pictures, labels, config, settings.organize.seed)
    assigned = assign(pictures, fitting.unnamed(found)).persist()
    try:
        measured = fitting.measure(assigned, found, model_id, config.outlier_deviations)
    finally:
        assigned.unpersist()
    clusters, kept = _name(measured, centroids.load(spark, settings, model_id))
    return clusters, kept, tuple(sorted(set(filter(None, sizes)) - set(labels)))


def _pictures(spark: SparkSession, settings: Settings, model_id: str) -> DataFrame:
    return _shown(spark, settings).join(embeddings.vectors(spark, settings, model_id), "image_id")


def _shown(spark: SparkSession, settings: Settings) -> DataFrame:
    samples = tables.read_complete(spark, settings.lake, Table.SAMPLES)
    shown = samples.where(~f.coalesce(f.array_contains("flags", NONE_OF_THESE), f.lit(False)))
    return shown.select("image_id", "label")


def _assign_changed(
    spark: SparkSession, settings: Settings, model_id: str, known: DataFrame, clusters: list[Cluster]
) -> None:
    """Give a cluster to images that came, or got another label, while the clusters were computed."""
    known = known.withColumnRenamed("label", "before")
    same = [f.col("new.image_id") == f.col("old.image_id"), f.col("label").eqNullSafe(f.col("before"))]
    changed = _shown(spark, settings).alias("new").join(known.alias("old"), same, "left_anti")
    ids = [row.image_id for row in changed.select("image_id").collect()]
    if not ids:
        return
    vectors = embeddings.vectors(spark, settings, model_id).where(f.col("image_id").isin(ids))
    rows = assign(changed.join(vectors, "image_id"), centroids.by_label(clusters))
    save_assignment(spark, settings, rows, clusters)


def _name(measured: Iterable[Cluster], before: Iterable[Cluster]) -> tuple[list[Cluster], int]:
    """Give clusters the ids of those that they continue, or new ones; and the number that continue one."""
    old, new = _grouped(before), _grouped(measured)
    named, kept = [], 0
    for label, found in new.items():
        previous = old.get(label, [])
        pairs = matching.match(
            to_vectors([each.centroid for each in previous]),
            to_vectors([each.centroid for each in found]),
            np.array([each.radius for each in found], np.float32),
        )
        kept += len(pairs)
        for row, each in enumerate(found):
            if row in pairs:
                earlier = previous[pairs[row]]
                named.append(replace(each, cluster=earlier.cluster, created=earlier.created))
            else:
                named.append(replace(each, cluster=matching.mint_id(label, each.model_id, each.centroid)))
    return sorted(named, key=lambda each: each.cluster), kept


def _grouped(clusters: Iterable[Cluster]) -> dict[str | None, list[Cluster]]:
    found: dict[str | None, list[Cluster]] = {}
    for each in clusters:
        found.setdefault(each.label, []).append(each)
    return found


def _write(spark: SparkSession, settings: Settings, clusters: Iterable[Cluster]) -> None:
    """Replace the table; its rows are few, and those of another model say nothing about these samples."""
    rows = [vars(each) for each in clusters]
    frame = spark.createDataFrame(rows, SCHEMAS[Table.CLUSTERS]).coalesce(1)
    tables.retry_on_conflict(
        lambda: frame.write.format("delta").mode("overwrite").save(settings.lake.at(Table.CLUSTERS))
    )
