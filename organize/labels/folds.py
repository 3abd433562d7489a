"""Folds for cross-validation: near duplicates are in one fold, labels are spread evenly over the folds."""

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray


def assign_folds(
    labels: NDArray[np.int64], groups: NDArray[np.str_], folds: int, seed: int
) -> NDArray[np.int64]:
    """Assign rows to folds, whatever the order of the rows.

    Groups are dealt largest first, each to the fold that has the fewest rows of its most frequent label.
    A copy of a picture in another fold would tell the model the label that is to be judged.

    Args:
        labels: label index of each row.
        groups: duplicate group of each row.
        folds: how many.
        seed: another one deals the groups anew.

    Returns:
        the fold of each row, 0 to folds - 1.
    """
    names, group = np.unique(groups, return_inverse=True)
    sizes = np.bincount(group, minlength=len(names))
    count = int(labels.max()) + 1 if len(labels) else 0
    # Most frequent label of each group, the smallest one where two are equally frequent.
    pairs, frequency = np.unique(np.stack([group, labels]), axis=1, return_counts=True)
    order = np.lexsort((pairs[1], -frequency, pairs[0]))
    first = order[np.unique(pairs[0][order], return_index=True)[1]]
    major = pairs[1][first]
    keys = np.array([_point(seed, name) for name in names], np.uint64)
    filled = np.zeros((folds, count), np.int64)
    fold_of = np.empty(len(names), np.int64)
    for index in np.lexsort((keys, -sizes)):
        label = major[index]
        # Among equally filled folds the one with the fewest rows of all labels.
        fold = min(range(folds), key=lambda each: (filled[each, label], filled[each].sum(), each))
        fold_of[index] = fold
        filled[fold, label] += sizes[index]
    return fold_of[group]


def _point(seed: int, name: str) -> int:
    return int.from_bytes(blake2b(f"{seed}:{name}".encode(), digest_size=8).digest(), "big")
