"""Batch sampling for triplet loss: several pictures from each of several labels. Pure."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

MIN_COUNT = 2  # least number of pictures of a label for a pair, and of labels for a triplet


def labels_with_pairs(labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """The labels with at least two pictures."""
    return np.flatnonzero(np.bincount(labels) >= MIN_COUNT)


def sample_label_groups(
    labels: NDArray[np.int32], steps: int, batch: int, per_label: int, random: np.random.Generator
) -> NDArray[np.int32]:
    """Draw the rows of an epoch: each batch has `per_label` pictures of each of `batch / per_label` labels.

    This is P × K sampling. All labels have the same probability, whatever their size. The pictures of a label
    are used in turn; a label with fewer than `per_label` pictures repeats some within a batch. A worker with
    fewer labels than a batch needs repeats labels.

    Args:
        labels: int32 (n,), of the worker's pictures; at least two labels need two pictures each.
        steps: batches of the epoch.
        batch: a multiple of `per_label`.
        per_label: pictures of a label in a batch.
        random: generator to draw with.

    Returns:
        int32 (steps, batch), pictures of one label are adjacent.
    """
    usable = labels_with_pairs(labels)
    pictures = {label: _shuffled_cycle(np.flatnonzero(labels == label), random) for label in usable}
    rows = [
        row
        for _ in range(steps)
        for label in np.resize(random.permutation(usable), batch // per_label)
        for row in islice(pictures[label], per_label)
    ]
    return np.array(rows, np.int32).reshape(steps, batch)


def _shuffled_cycle(values: NDArray[np.int64], random: np.random.Generator) -> Iterator[int]:
    """Yield the values in random order for ever; a value repeats only after all others were used."""
    while True:
        yield from random.permutation(values).tolist()
