"""Verification (same label or not) and nearest-neighbour retrieval with embeddings. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_PAIRS = 3000  # of each kind at most, as in Labeled Faces in the Wild (Huang et al. 2007)
MAX_PICTURES = 2000  # pictures at most from which pairs are drawn
CHUNK_CELLS = 2**24  # of the distance matrix computed at once

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Embeddings:
    """Embedding vectors of pictures.

    Args:
        image_ids: n ids.
        labels: int32 (n,).
        vectors: float32 (n, size), each of length 1.
    """

    image_ids: tuple[str, ...]
    labels: NDArray[np.int32]
    vectors: Vectors

    @classmethod
    def join(cls, *parts: "Embeddings") -> "Embeddings":
        """The embeddings of several sets of pictures in one."""
        present = [part for part in parts if len(part.labels)] or list(parts[:1])
        return cls(
            tuple(image_id for part in present for image_id in part.image_ids),
            np.concatenate([part.labels for part in present]),
            np.concatenate([part.vectors for part in present]),
        )


@dataclass(frozen=True)
class Verification:
    """Result of classifying pairs as same or different by the distance of their embeddings.

    Args:
        threshold: squared distance below which a pair counts as the same label; chosen on validation pairs.
        accuracy: on the test pairs, half of which are the same; None without pairs.
        pairs: number of test pairs.
    """

    threshold: float
    accuracy: float | None
    pairs: int


def verify(validation: Embeddings, test: Embeddings, seed: int) -> Verification | None:
    """Choose a threshold on validation pairs and measure it on test pairs; None without validation pairs."""
    validation_pairs = draw_pairs(validation.labels, seed)
    if not len(validation_pairs):
        return None
    threshold = best_threshold(*_pair_distances(validation, validation_pairs))
    test_pairs = draw_pairs(test.labels, seed)
    distances, same = _pair_distances(test, test_pairs)
    accuracy = float(((distances < threshold) == same).mean()) if len(test_pairs) else None
    return Verification(threshold, accuracy, len(test_pairs))


def _pair_distances(
    embeddings: Embeddings, sampled: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    first, second = sampled[:, 0], sampled[:, 1]
    distances = ((embeddings.vectors[first] - embeddings.vectors[second]).astype(np.float64) ** 2).sum(axis=1)
    return distances, embeddings.labels[first] == embeddings.labels[second]


def draw_pairs(labels: NDArray[np.int32], seed: int) -> NDArray[np.int64]:
    """Draw as many pairs of one label as of different labels; the same seed draws the same pairs.

    Returns:
        int64 (m, 2), positions in `labels`; m is 0 if one of the two kinds has no pair.
    """
    random = np.random.default_rng(seed)
    sampled = np.sort(random.permutation(len(labels))[:MAX_PICTURES])
    first, second = np.triu_indices(len(sampled), 1)
    same = labels[sampled[first]] == labels[sampled[second]]
    kinds = [np.flatnonzero(same), np.flatnonzero(~same)]
    count = min(MAX_PAIRS, *(len(kind) for kind in kinds))
    drawn = np.concatenate([random.permutation(kind)[:count] for kind in kinds])
    return np.stack([sampled[first[drawn]], sampled[second[drawn]]], axis=1).astype(np.int64)


def best_threshold(distances: NDArray[np.float64], same: NDArray[np.bool_]) -> float:
    """The distance that separates same from different pairs with the fewest mistakes.

    Args:
        distances: (n,).
        same: (n,) whether the pair has one label.
    """
    order = np.argsort(distances, kind="stable")
    sorted_distances, sorted_same = distances[order], same[order]
    # correct[k]: same pairs among the first k, plus different pairs after them.
    correct = np.concatenate([[0], np.cumsum(sorted_same)]) + np.concatenate(
        [np.cumsum(~sorted_same[::-1])[::-1], [0]]
    )
    edges = np.concatenate(
        [[0], (sorted_distances[1:] + sorted_distances[:-1]) / 2, [sorted_distances[-1] + 1e-6]]
    )
    return float(edges[correct.argmax()])


def nearest_neighbours(
    queries: Vectors, gallery: Vectors | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Nearest neighbour of each query: its position in the gallery (n,) and squared distance (n,).

    Without a gallery, which else has one picture or more, a query's neighbour is one of the other queries.
    """
    others = queries if gallery is None else gallery
    positions, distances = np.zeros(len(queries), np.int64), np.zeros(len(queries))
    rows = max(1, CHUNK_CELLS // max(1, len(others)))
    for first in range(0, len(queries), rows):
        part = queries[first : first + rows]
        part_distances = 2 - 2 * part @ others.T
        if gallery is None:
            part_distances[np.arange(len(part)), np.arange(first, first + len(part))] = np.inf
        positions[first : first + rows] = part_distances.argmin(axis=1)
        distances[first : first + rows] = part_distances.min(axis=1).clip(0)
    return positions, distances


@dataclass(frozen=True)
class Retrieved:
    """The nearest neighbours of those queries for which a picture of the same label could be found.

    Args:
        rows: int64 (n,), positions of these queries.
        labels: int32 (n,), labels of their nearest neighbours.
        similarity: float64 (n,), (1 + cosine) / 2: 1 for equal, 0.5 for orthogonal vectors.
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int32]
    similarity: NDArray[np.float64]


def retrieve(queries: Embeddings, gallery: Embeddings | None = None) -> Retrieved:
    """Find the nearest neighbour of each query in a gallery; without one, among the other queries."""
    others = queries if gallery is None else gallery
    names, counts = np.unique(others.labels, return_counts=True)
    found = names[counts >= (2 if gallery is None else 1)]
    rows = np.flatnonzero(np.isin(queries.labels, found))
    if gallery is None:  # a query that is left out is still a neighbour of others
        positions, distances = (each[rows] for each in nearest_neighbours(queries.vectors))
    else:
        positions, distances = nearest_neighbours(queries.vectors[rows], gallery.vectors)
    return Retrieved(rows, others.labels[positions], 1 - distances / 4)
