"""The table `clusters` as values: the centroids to which pictures are compared."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from pyspark.sql import SparkSession
from pyspark.sql import functions as f

from conf.settings import Settings
from lake import row_writer, tables
from lake.row_writer import literal
from lake.table import Table
from organize.features.vectors import STORED, Vectors, to_vectors


@dataclass(frozen=True)
class Cluster:
    """A row of `clusters`.

    Args:
        cluster: its id.
        label: whose pictures it groups; None for a cluster of pictures with any label.
        centroid: float16, little-endian, of length 1.
        size: images.
        radius: cosine distance from which an image is an outlier.
        common_label, common_share: the most frequent label of its images, and the share that has it.
        created: when it was first formed.
    """

    cluster: str
    label: str | None
    model_id: str
    centroid: bytes
    size: int
    radius: float
    common_label: str | None
    common_share: float
    created: datetime

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> "Cluster":
        """Read a row of the table."""
        return cls(
            **{name: row[name] for name in cls.__dataclass_fields__} | {"centroid": bytes(row["centroid"])}
        )


@dataclass(frozen=True)
class Centroids:
    """Centroids of one label, or of all labels.

    Args:
        ids: of the clusters.
        vectors: float32 (clusters, numbers), of length 1.
        radii: of the clusters.
    """

    ids: tuple[str, ...]
    vectors: Vectors
    radii: tuple[float, ...]

    def nearest(self, vectors: Vectors) -> tuple[np.ndarray[Any, np.dtype[np.int64]], Vectors]:
        """Index of the nearest centroid of each vector, and its cosine distance, to 4 decimals.

        Rounded, so that the same picture has the same distance in batches of any size.
        """
        similarity = vectors @ self.vectors.T
        rows = similarity.argmax(axis=1)
        distances = np.clip(1 - similarity[np.arange(len(rows)), rows], 0, 2)
        return rows, np.round(distances, 4).astype(np.float32)


def load(spark: SparkSession, settings: Settings, model_id: str) -> list[Cluster]:
    """The clusters of a model's embeddings, sorted by id; none before they are formed."""
    rows = tables.read_complete(spark, settings.lake, Table.CLUSTERS).where(f.col("model_id") == model_id)
    return sorted((Cluster.of_row(row.asDict()) for row in rows.collect()), key=lambda each: each.cluster)


def read(settings: Settings, model_id: str) -> list[Cluster]:
    """The same without Spark, for a few uploads."""
    names = list(Cluster.__dataclass_fields__)
    rows = row_writer.read(settings, Table.CLUSTERS, names, f"model_id = {literal(model_id)}")
    return sorted(map(Cluster.of_row, rows), key=lambda each: each.cluster)


def by_label(clusters: Iterable[Cluster]) -> dict[str | None, Centroids]:
    """The centroids of each label; those of all labels at None."""
    found: dict[str | None, list[Cluster]] = {}
    for each in clusters:
        found.setdefault(each.label, []).append(each)
    return {label: _centroids(listed) for label, listed in found.items()}


def _centroids(clusters: Sequence[Cluster]) -> Centroids:
    return Centroids(
        tuple(each.cluster for each in clusters),
        to_vectors([each.centroid for each in clusters]),
        tuple(each.radius for each in clusters),
    )


def pack(vector: Vectors) -> bytes:
    """A centroid as the table stores it."""
    return vector.astype(STORED).tobytes()
