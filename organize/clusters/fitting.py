"""Centroids of pictures, of each label and of all, and what is known of each cluster. On Spark."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as f
from threadpoolctl import threadpool_limits

from conf.curation_sections import Clusters
from organize.clusters import kmeans
from organize.clusters.centroids import Centroids, Cluster, pack
from organize.features.vectors import Vectors, to_vectors

_FOUND = "label string, centroid binary"


def fit_labels(
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


def unnamed(found: Mapping[str | None, Vectors]) -> dict[str | None, Centroids]:
    """Centroids with their numbers as ids, and without radii."""
    return {
        label: Centroids(tuple(map(str, range(len(rows)))), rows, (math.inf,) * len(rows))
        for label, rows in found.items()
    }


def measure(
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
