"""Verification (same label or not) and nearest-neighbour retrieval with embeddings. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_PAIRS = 3000  # of each kind at most, as in Labeled Faces in the Wild (Huang et al. 2007)
MAX_PICTURES = 2000  # pictures at most from which pairs are drawn
CHUNK = 1024  # rows of the distance matrix computed at once

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


def nearest_neighbours(vectors: Vectors) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Nearest neighbour of each picture: its position (n,) and squared distance (n,)."""
    positions = np.zeros(len(vectors), np.int64)
    distances = np.zeros(len(vectors))
    for first in range(0, len(vectors), CHUNK):
        part = vectors[first : first + CHUNK]
        part_distances = 2 - 2 * part @ vectors.T
        part_distances[np.arange(len(part)), np.arange(first, first + len(part))] = np.inf
        positions[first : first + CHUNK] = part_distances.argmin(axis=1)
        distances[first : first + CHUNK] = part_distances.min(axis=1).clip(0)
    return positions, distances


def nearest_labels(embeddings: Embeddings) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """The label of each picture's nearest neighbour (retrieval at 1), and the similarity of the two.

    Returns:
        label indices int32 (n,), and (1 + cosine) / 2, float64 (n,): 1 for equal, 0.5 for orthogonal vectors.
    """
    if len(embeddings.labels) < 2:
        return embeddings.labels[:0], np.zeros(0)
    positions, distances = nearest_neighbours(embeddings.vectors)
    return embeddings.labels[positions], 1 - distances / 4
