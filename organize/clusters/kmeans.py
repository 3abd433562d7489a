"""Clusters of embeddings: mini-batch k-means, with the number of clusters by silhouette.

Vectors of many numbers have small silhouettes, also where there are clusters, and a cloud without clusters
can be divided, too. So a silhouette is computed of principal components. It counts as far as it exceeds that
of normal distributions with the same variances, as in the gap statistic (Tibshirani, Walther, Hastie 2001).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score

from organize.features.vectors import to_unit

Floats = NDArray[np.float32]

CANDIDATES = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)  # numbers of clusters that are tried
SILHOUETTE_ROWS = 1000  # of which a silhouette is computed, because its time grows with their square
COMPONENTS = 16  # of which a silhouette is computed
REFERENCES = 5  # normal distributions to compare with
MIN_GAP = 0.01  # below it no division is better than one cluster; of clouds without clusters 0.005 was seen
MIN_DEVIATIONS = 3  # the gap in standard deviations between the references: few rows vary more
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
        count: number of clusters; 0 takes the number whose mean silhouette (Rousseeuw 1987) exceeds most that
            of vectors without clusters.
        largest: the largest number that is tried.
        smallest_size: mean number of rows of a cluster, below which no more clusters are tried.
        seed: of the starts.
    """
    possible = max(1, len(vectors) // smallest_size)
    if count:
        return _fit(vectors, min(count, possible), seed)
    tried = [each for each in CANDIDATES if each <= min(largest, possible)]
    return _best(vectors, tried, seed)


def _best(vectors: Floats, counts: Sequence[int], seed: int) -> Clustering:
    best, largest_gap = _fit(vectors, 1, seed), MIN_GAP
    if not counts:
        return best
    random = np.random.default_rng(seed)
    chosen = random.permutation(len(vectors))[:SILHOUETTE_ROWS]
    components = PCA(min(COMPONENTS, len(vectors) - 1), svd_solver="auto", random_state=seed).fit(vectors)
    deviations = np.sqrt(components.explained_variance_)
    shown = components.transform(vectors[chosen])
    clouds = [
        (random.normal(0, 1, (len(vectors), len(deviations))) * deviations).astype(np.float32)
        for _ in range(REFERENCES)
    ]
    for count in counts:
        found = _fit(vectors, count, seed)
        references = [
            _silhouette(cloud[chosen], _k_means(cloud, count, seed).labels_[chosen]) for cloud in clouds
        ]
        gap = _silhouette(shown, found.rows[chosen]) - float(np.mean(references))
        if gap > max(largest_gap, MIN_DEVIATIONS * float(np.std(references, ddof=1))):
            best, largest_gap = found, gap
    return best


def _silhouette(vectors: Floats, rows: NDArray[np.int64]) -> float:
    """Mean silhouette by Euclidean distances; -1 where it is not defined."""
    if not 1 < len(np.unique(rows)) < len(rows):
        return -1.0
    return float(silhouette_score(vectors, rows))


def _fit(vectors: Floats, count: int, seed: int) -> Clustering:
    if count == 1:
        return Clustering(to_unit(vectors.mean(axis=0, keepdims=True)), np.zeros(len(vectors), np.int64))
    centroids = to_unit(_k_means(vectors, count, seed).cluster_centers_)
    rows, _ = nearest(vectors, centroids)
    used = np.unique(rows)  # k-means may leave a cluster without rows
    return Clustering(centroids[used], np.searchsorted(used, rows))


def _k_means(vectors: Floats, count: int, seed: int) -> MiniBatchKMeans:
    return MiniBatchKMeans(count, batch_size=_BATCH, n_init=_STARTS, random_state=seed).fit(vectors)


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
