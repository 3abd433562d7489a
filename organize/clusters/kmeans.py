"""Clusters of embeddings: mini-batch k-means, with the number of clusters by silhouette."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import silhouette_score

from organize.features.vectors import to_unit

Floats = NDArray[np.float32]

CANDIDATES = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)  # numbers of clusters that are tried
SILHOUETTE_ROWS = 1000  # of which a silhouette is computed, because its time grows with their square
MIN_SILHOUETTE = 0.05  # below it no division is better than one cluster
_BATCH = 1024
_STARTS = 3


@dataclass(frozen=True)
class Clustering:
    """Centroids of length 1, float32 (clusters, numbers), and the cluster of each row."""

    centroids: Floats
    rows: NDArray[np.int64]


def cluster(vectors: Floats, count: int, largest: int, smallest_size: int, seed: int) -> Clustering:
    """Cluster vectors of length 1.

    Args:
        vectors: float32 (rows, numbers), in an order that does not depend on the run.
        count: number of clusters; 0 takes the number with the largest mean silhouette (Rousseeuw 1987).
        largest: the largest number that is tried.
        smallest_size: mean number of rows of a cluster, below which no more clusters are tried.
        seed: of the starts.
    """
    possible = max(1, len(vectors) // smallest_size)
    if count:
        return _fit(vectors, min(count, possible), seed)
    tried = [each for each in CANDIDATES if each <= min(largest, possible)]
    return _best(vectors, tried, seed)


def _best(vectors: Floats, counts: Iterable[int], seed: int) -> Clustering:
    best, best_score = _fit(vectors, 1, seed), MIN_SILHOUETTE
    chosen = np.random.default_rng(seed).permutation(len(vectors))[:SILHOUETTE_ROWS]
    # Euclidean: cosine distances are their squares, which make any division look good.
    distances = np.sqrt(np.clip(2 - 2 * vectors[chosen] @ vectors[chosen].T, 0, 4))
    np.fill_diagonal(distances, 0)
    for count in counts:
        found = _fit(vectors, count, seed)
        rows = found.rows[chosen]
        if not 1 < len(np.unique(rows)) < len(rows):
            continue
        score = float(silhouette_score(distances, rows, metric="precomputed"))
        if score > best_score:
            best, best_score = found, score
    return best


def _fit(vectors: Floats, count: int, seed: int) -> Clustering:
    if count == 1:
        return Clustering(to_unit(vectors.mean(axis=0, keepdims=True)), np.zeros(len(vectors), np.int64))
    model = MiniBatchKMeans(count, batch_size=_BATCH, n_init=_STARTS, random_state=seed)
    model.fit(vectors)
    centroids = to_unit(model.cluster_centers_)
    rows, _ = nearest(vectors, centroids)
    used = np.unique(rows)  # k-means may leave a cluster without rows
    return Clustering(centroids[used], np.searchsorted(used, rows))


def nearest(vectors: Floats, centroids: Floats) -> tuple[NDArray[np.int64], Floats]:
    """The nearest centroid of each vector, and its cosine distance (0 to 2); all have length 1."""
    similarity = vectors @ centroids.T
    rows = similarity.argmax(axis=1)
    return rows, np.clip(1 - similarity[np.arange(len(rows)), rows], 0, 2).astype(np.float32)


def outlier_radius(median: float, deviation: float, deviations: float) -> float:
    """The distance from which an image of a cluster is an outlier, to 4 decimals.

    The median absolute deviation times 1.4826 is the standard deviation of normally distributed values; a few
    strangers do not move it (Leys et al. 2013).

    Args:
        median: of the distances to the centroid.
        deviation: median absolute deviation from it.
        deviations: how many robust standard deviations are no outlier.
    """
    return round(median + deviations * 1.4826 * deviation, 4)
