"""Forms the clusters of a lake anew, and gives every sample its cluster; ids stay where clusters stay."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as f
from threadpoolctl import threadpool_limits

from conf.curation_sections import Clusters
from conf.settings import Settings
from lake import tables
from lake.schemas import NONE_OF_THESE, SCHEMAS
from lake.table import Table
from organize.clusters import centroids, kmeans, matching
from organize.clusters.assignment import assign
from organize.clusters.centroids import Centroids, Cluster, pack
from organize.clusters.suggestion import leave_clusters, save_assignment
from organize.errors import NothingToCheck
from organize.features import embeddings
from organize.features.vectors import Vectors, to_vectors

_FOUND = "label string, centroid binary"


@dataclass(frozen=True)
class Formed:
    """The result of a formation.

    Args:
        clusters: all of them, sorted by id.
        images: samples that have an embedding.
        outliers: of these.
        kept: clusters that continue one of before.
        labels_without: labels with too few images for clusters of their own.
    """

    clusters: tuple[Cluster, ...]
    images: int
    outliers: int
    kept: int
    labels_without: tuple[str, ...]


def form(spark: SparkSession, settings: Settings, model_id: str) -> Formed:
    """Form the clusters of each label and of all labels, and update `clusters` and `samples`.

    The same samples give the same tables, also after an interruption: centroids start from nothing, and their
    ids come from the clusters before, which they then equal.

    Raises:
        NothingToCheck: there are fewer embeddings than a cluster needs.
    """
    config = settings.clusters
    if tables.exists(spark, settings.lake, Table.SAMPLES):
        tables.create(spark, settings.lake)  # a lake of an older hub lacks columns
    pictures = _pictures(spark, settings, model_id).persist()
    try:
        sizes = {row.label: row["count"] for row in pictures.groupBy("label").count().collect()}
        total = sum(sizes.values())
        if total < config.min_images:
            raise NothingToCheck(
                f"{total:,} samples have an embedding of {model_id}, clusters need {config.min_images:,}: "
                "run `hub organize --once` after more uploads, or set HUB__CLUSTERS__MIN_IMAGES"
            )
        seed = settings.organize.seed
        labels = [label for label, size in sizes.items() if label and size >= config.min_images]
        found = _centroids(pictures, labels, config, seed)
        assigned = assign(pictures, _unnamed(found)).persist()
        try:
            measured = _measure(assigned, found, model_id, config.outlier_deviations)
            before = centroids.load(spark, settings, model_id)
            named, kept = _name(measured, before)
            _write(spark, settings, named)
            final = assign(pictures, centroids.by_label(named))
            outliers = save_assignment(spark, settings, final, named)
            leave_clusters(spark, settings)
        finally:
            assigned.unpersist()
    finally:
        pictures.unpersist()
    without = tuple(sorted(set(filter(None, sizes)) - set(labels)))
    return Formed(tuple(named), total, outliers, kept, without)


def _pictures(spark: SparkSession, settings: Settings, model_id: str) -> DataFrame:
    samples = tables.read_complete(spark, settings.lake, Table.SAMPLES)
    shown = samples.where(~f.coalesce(f.array_contains("flags", NONE_OF_THESE), f.lit(False)))
    return shown.select("image_id", "label").join(embeddings.vectors(spark, settings, model_id), "image_id")


def _centroids(
    pictures: DataFrame, labels: list[str], config: Clusters, seed: int
) -> dict[str | None, Vectors]:
    """Centroids by label; those of all labels at None. Each label is one task.

    Of a small lake all pictures are here anyway: to start Python workers would take longer than k-means.
    """
    order = [f.xxhash64("image_id"), f.col("image_id")]
    everything = pictures.orderBy(*order).limit(config.sample_images).toArrow()
    result: dict[str | None, Vectors] = {None: fit_vectors(everything, config, seed)}
    if len(everything) < config.sample_images:
        for label in labels:
            fitted = fit_vectors(everything.filter(pc.equal(everything["label"], label)), config, seed)
            result[label] = to_vectors([pack(row) for row in fitted])
        return result

    def fit(group: pa.Table) -> pa.Table:
        found = fit_vectors(group, config, seed)
        label = [group["label"][0].as_py()] * len(found)
        return pa.table({"label": pa.array(label, pa.string()), "centroid": [pack(row) for row in found]})

    chosen = pictures.where(f.col("label").isin(labels)).withColumn(
        "nth", f.row_number().over(Window.partitionBy("label").orderBy(*order))
    )
    chosen = chosen.where(f.col("nth") <= config.sample_images).drop("nth")
    rows = chosen.groupBy("label").applyInArrow(fit, _FOUND).collect()
    found: dict[str | None, list[bytes]] = {}
    for row in rows:
        found.setdefault(row.label, []).append(bytes(row.centroid))
    return result | {label: to_vectors(listed) for label, listed in found.items()}


def fit_vectors(pictures: pa.Table, config: Clusters, seed: int) -> Vectors:
    """Centroids of pictures with image_id and vector, sorted, so that their order is always the same."""
    ordered = pictures.take(pc.sort_indices(pictures, [("image_id", "ascending")]))
    with threadpool_limits(1):  # sums of several threads differ from run to run
        found = kmeans.cluster(
            to_vectors(ordered["vector"]), config.count, config.max_count, config.min_images, seed
        )
    return found.centroids[np.lexsort(found.centroids.T)]


def _unnamed(found: Mapping[str | None, Vectors]) -> dict[str | None, Centroids]:
    """Centroids with their numbers as ids, and without radii."""
    return {
        label: Centroids(tuple(map(str, range(len(rows)))), rows, (math.inf,) * len(rows))
        for label, rows in found.items()
    }


def _measure(
    assigned: DataFrame, found: Mapping[str | None, Vectors], model_id: str, deviations: float
) -> list[Cluster]:
    """Size, radius and most frequent label of each cluster; clusters without images are left out."""
    now = datetime.now(UTC)
    own = assigned.where("cluster IS NOT NULL").select(
        "label", f.col("cluster").alias("number"), f.col("cluster_distance").alias("distance"),
        f.col("label").alias("claimed"),
    )  # fmt: skip
    overall = assigned.select(
        f.lit(None).cast("string").alias("label"), f.col("overall_cluster").alias("number"),
        f.col("overall_distance").alias("distance"), f.col("label").alias("claimed"),
    )  # fmt: skip
    by_claim = own.unionByName(overall).groupBy("label", "number", "claimed")
    rows = by_claim.agg(f.collect_list("distance").alias("distances")).toArrow().to_pylist()
    members: dict[tuple[str | None, int], dict[str, list[float]]] = {}
    for row in rows:
        claims = members.setdefault((row["label"], int(row["number"])), {})
        claims[row["claimed"] or ""] = row["distances"]
    measured = []
    for (label, number), claims in sorted(members.items(), key=lambda each: (each[0][0] or "", each[0][1])):
        distances = np.concatenate([np.asarray(each, np.float32) for each in claims.values()])
        median = float(np.median(distances))
        common = max(sorted(claims), key=lambda claim: len(claims[claim]))
        measured.append(
            Cluster(
                cluster=str(number),
                label=label,
                model_id=model_id,
                centroid=pack(found[label][number]),
                size=len(distances),
                radius=kmeans.outlier_radius(
                    median, float(np.median(np.abs(distances - median))), deviations
                ),
                common_label=common or None,
                common_share=round(len(claims[common]) / len(distances), 4),
                created=now,
            )
        )
    return measured


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
