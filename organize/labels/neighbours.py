"""Labels of the nearest neighbours of each picture, other than its near duplicates."""

import numpy as np
from numpy.typing import NDArray

from organize.labels.probe import Floats

NEIGHBOURS = 20
REFERENCES = 8_192  # pictures among which neighbours are searched; a random part of them if there are more
_BLOCK = 1024
_OWN = -2.0  # similarity of the picture itself and its near duplicates, which do not vote


def votes(
    features: Floats,
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    references: NDArray[np.int64],
    count: int,
) -> Floats:
    """The share of each label among the nearest neighbours by cosine.

    Source: k-nearest-neighbour agreement for noisy labels, Bahri, Jiang, Gupta 2020 ("Deep k-NN").

    Args:
        features: float32 (rows, numbers), centred.
        labels: label index of each row.
        groups: number of each row's duplicate group; its own rows do not vote.
        references: rows that vote.
        count: of labels.

    Returns:
        float32 (rows, count); rows sum to 1, with one added vote spread over all labels.
    """
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), np.float32(1e-12))
    by_group = references[np.argsort(groups[references], kind="stable")]
    voters, voter_labels, voter_groups = (
        np.ascontiguousarray(unit[by_group].T),
        labels[by_group],
        groups[by_group],
    )
    first, last = (np.searchsorted(voter_groups, groups, side) for side in ("left", "right"))
    kept = min(NEIGHBOURS, len(references))
    shares = np.empty((len(features), count), np.float32)
    for start in range(0, len(features), _BLOCK):
        block = slice(start, start + _BLOCK)
        similarity = unit[block] @ voters
        for row in np.flatnonzero(last[block] > first[block]):
            similarity[row, first[start + row] : last[start + row]] = _OWN
        nearest = np.argpartition(similarity, -kept, axis=1)[:, -kept:]
        others = np.take_along_axis(similarity, nearest, axis=1) > _OWN
        cells = np.arange(len(similarity))[:, None] * count + voter_labels[nearest]
        found = np.bincount(cells.ravel(), others.ravel(), len(similarity) * count).reshape(-1, count)
        shares[block] = (found + 1 / count) / (found.sum(axis=1, keepdims=True) + 1)
    return shares
