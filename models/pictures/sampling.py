"""Batches of several pictures from each of several labels, as triplets need them. Pure."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

LEAST = 2  # pictures of a label that make a pair, and labels that make a triplet


def eligible(labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """The labels that have a pair of pictures."""
    return np.flatnonzero(np.bincount(labels) >= LEAST)


def grouped(
    labels: NDArray[np.int32], steps: int, batch: int, per_label: int, random: np.random.Generator
) -> NDArray[np.int32]:
    """Rows of an epoch: every batch has `per_label` pictures from each of `batch / per_label` labels.

    A batch's labels are drawn whatever their size, the pictures of a label take turns; one with fewer
    pictures than `per_label` shows some twice. A worker with fewer labels than groups repeats them.

    Args:
        labels: int32 (n,), of the worker's pictures; at least two must have a pair.
        steps: of the epoch.
        batch: a multiple of `per_label`.
        per_label: pictures of a label in a batch.
        random: draws.

    Returns:
        int32 (steps, batch), the pictures of a label beside each other.
    """
    known = eligible(labels)
    pictures = {label: _turns(np.flatnonzero(labels == label), random) for label in known}
    rows = [
        row
        for _ in range(steps)
        for label in np.resize(random.permutation(known), batch // per_label)
        for row in islice(pictures[label], per_label)
    ]
    return np.array(rows, np.int32).reshape(steps, batch)


def _turns(values: NDArray[np.int64], random: np.random.Generator) -> Iterator[int]:
    """The values in random order, again and again; no value comes back before all others had their turn."""
    while True:
        yield from random.permutation(values).tolist()
