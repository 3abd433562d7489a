"""How well embeddings tell whether two pictures show the same label, and find one of the same. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PAIRS = 3000  # of each kind at most, as Labeled Faces in the Wild has them (Huang et al. 2007)
PAIRED = 2000  # pictures that pairs are drawn from at most
CHUNK = 1024

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Embeddings:
    """Pictures as vectors.

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
    """Same or different, told by the distance of two embeddings.

    Args:
        threshold: squared distance below which two pictures are called the same; chosen on validation pairs.
        accuracy: of that on test pairs, half of which are the same; None without pairs.
        pairs: test pairs.
    """

    threshold: float
    accuracy: float | None
    pairs: int


def verify(validation: Embeddings, test: Embeddings, seed: int) -> Verification | None:
    """Choose a threshold on one split and judge it on the other; None if the first has no pairs."""
    known = pairs(validation.labels, seed)
    if not len(known):
        return None
    threshold = best_threshold(*_measured(validation, known))
    asked = pairs(test.labels, seed)
    apart, same = _measured(test, asked)
    accuracy = float(((apart < threshold) == same).mean()) if len(asked) else None
    return Verification(threshold, accuracy, len(asked))


def _measured(found: Embeddings, chosen: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    one, other = chosen[:, 0], chosen[:, 1]
    apart = ((found.vectors[one] - found.vectors[other]).astype(np.float64) ** 2).sum(axis=1)
    return apart, found.labels[one] == found.labels[other]


def pairs(labels: NDArray[np.int32], seed: int) -> NDArray[np.int64]:
    """Pairs of pictures, as many of one label as of two, the same for the same seed.

    Returns:
        int64 (m, 2), positions in `labels`; m is 0 where there is no pair of one of both kinds.
    """
    random = np.random.default_rng(seed)
    chosen = np.sort(random.permutation(len(labels))[:PAIRED])
    one, other = np.triu_indices(len(chosen), 1)
    same = labels[chosen[one]] == labels[chosen[other]]
    kinds = [np.flatnonzero(same), np.flatnonzero(~same)]
    count = min(PAIRS, *(len(kind) for kind in kinds))
    taken = np.concatenate([random.permutation(kind)[:count] for kind in kinds])
    return np.stack([chosen[one[taken]], chosen[other[taken]]], axis=1).astype(np.int64)


def best_threshold(apart: NDArray[np.float64], same: NDArray[np.bool_]) -> float:
    """The distance that separates same from different with the fewest mistakes.

    Args:
        apart: (n,) distances.
        same: (n,) whether the pair shows one label.
    """
    order = np.argsort(apart, kind="stable")
    sorted_apart, sorted_same = apart[order], same[order]
    # With the threshold behind the first k: same ones among them are right, different ones behind them too.
    right = np.concatenate([[0], np.cumsum(sorted_same)]) + np.concatenate(
        [np.cumsum(~sorted_same[::-1])[::-1], [0]]
    )
    edges = np.concatenate([[0], (sorted_apart[1:] + sorted_apart[:-1]) / 2, [sorted_apart[-1] + 1e-6]])
    return float(edges[right.argmax()])


def nearest(vectors: Vectors) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The nearest other picture of each: its position (n,) and the squared distance (n,)."""
    positions = np.zeros(len(vectors), np.int64)
    apart = np.zeros(len(vectors))
    for first in range(0, len(vectors), CHUNK):
        part = vectors[first : first + CHUNK]
        found = 2 - 2 * part @ vectors.T
        found[np.arange(len(part)), np.arange(first, first + len(part))] = np.inf
        positions[first : first + CHUNK] = found.argmin(axis=1)
        apart[first : first + CHUNK] = found.min(axis=1).clip(0)
    return positions, apart


def retrieved(found: Embeddings) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Each picture's label as its nearest neighbour has it (retrieval at 1), and how near that is.

    Returns:
        label indices int32 (n,), and (1 + cosine) / 2 float64 (n,): 1 for equal ones, 0.5 at a right angle.
    """
    if len(found.labels) < 2:
        return found.labels[:0], np.zeros(0)
    positions, apart = nearest(found.vectors)
    return found.labels[positions], 1 - apart / 4
