"""Stable ids of clusters: a new centroid gets the id of the old one that it continues."""

import hashlib

from scipy.optimize import linear_sum_assignment

from organize.clusters.kmeans import Floats

EVERYTHING = "all"  # begins the ids of clusters of all labels
_DIGITS = 8


def match(old: Floats, new: Floats, reach: Floats) -> dict[int, int]:
    """Assign new centroids to old ones, each to at most one, with the smallest sum of cosine distances.

    Source: Kuhn 1955, the Hungarian method.

    Args:
        old, new: float32 (clusters, numbers), of length 1.
        reach: the largest distance at which a pair is the same cluster, for each new centroid.

    Returns:
        index of a new centroid to index of the old one; others are new clusters.
    """
    if not len(old) or not len(new):
        return {}
    distances = 1 - new @ old.T
    pairs = zip(*linear_sum_assignment(distances), strict=True)
    return {int(row): int(column) for row, column in pairs if distances[row, column] <= reach[row]}


def mint_id(label: str | None, model_id: str, centroid: bytes) -> str:
    """A new cluster's id: its label, and a hash of its content, so that equal runs mint equal ids."""
    content = f"{label or ''}\0{model_id}\0".encode() + centroid
    return f"{label or EVERYTHING}-{hashlib.sha256(content).hexdigest()[:_DIGITS]}"
