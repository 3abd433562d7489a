"""Gives pictures their clusters: the nearest centroid of their label, and of all labels. On Spark."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from organize.clusters.centroids import Centroids
from organize.features.vectors import to_vectors

ASSIGNED = (
    "image_id string, label string, cluster string, cluster_distance float, outlier boolean, "
    "overall_cluster string, overall_distance float, overall_outlier boolean"
)
_COLUMNS = ("cluster", "cluster_distance", "outlier")


def assign(pictures: DataFrame, centroids: Mapping[str | None, Centroids]) -> DataFrame:
    """Assign pictures to their nearest centroids.

    Args:
        pictures: with image_id, label and vector.
        centroids: by label; those of all labels at None.

    Returns:
        columns `ASSIGNED`; null where a label, or the lake, has no clusters.
    """
    return pictures.select("image_id", "label", "vector").mapInArrow(_assigner(dict(centroids)), ASSIGNED)


def _assigner(
    centroids: Mapping[str | None, Centroids],
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def assign_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if batch.num_rows:
                yield assign_batch(batch, centroids)

    return assign_batches


def assign_rows(pictures: pa.Table, centroids: Mapping[str | None, Centroids]) -> pa.RecordBatch:
    """Assign a few pictures, as `assign`, in this process."""
    (batch,) = pictures.select(["image_id", "label", "vector"]).combine_chunks().to_batches()
    return assign_batch(batch, centroids)


def assign_batch(batch: pa.RecordBatch, centroids: Mapping[str | None, Centroids]) -> pa.RecordBatch:
    """Assign the pictures of a batch with image_id, label and vector."""
    vectors, labels = to_vectors(batch["vector"]), np.array(batch["label"].to_pylist(), dtype=object)
    own = _Columns(len(labels))
    for label in set(labels.tolist()):
        if label is not None and label in centroids:
            own.fill(np.flatnonzero(labels == label), vectors, centroids[label])
    overall = _Columns(len(labels))
    if None in centroids:
        overall.fill(np.arange(len(labels)), vectors, centroids[None])
    arrays = [batch["image_id"], batch["label"], *own.arrays(), *overall.arrays()]
    names = ["image_id", "label", *_COLUMNS, "overall_cluster", "overall_distance", "overall_outlier"]
    return pa.RecordBatch.from_arrays(arrays, names=names)


class _Columns:
    """Cluster, distance and outlier of each row."""

    def __init__(self, rows: int) -> None:
        self._clusters: list[str | None] = [None] * rows
        self._distances: list[float | None] = [None] * rows
        self._outliers: list[bool | None] = [None] * rows

    def fill(self, rows: np.ndarray, vectors: np.ndarray, centroids: Centroids) -> None:
        nearest, distances = centroids.nearest(vectors[rows])
        for row, index, distance in zip(rows.tolist(), nearest.tolist(), distances.tolist(), strict=True):
            self._clusters[row] = centroids.ids[index]
            self._distances[row] = distance
            self._outliers[row] = distance > centroids.radii[index]

    def arrays(self) -> list[pa.Array]:
        return [
            pa.array(self._clusters, pa.string()),
            pa.array(self._distances, pa.float32()),
            pa.array(self._outliers, pa.bool_()),
        ]
