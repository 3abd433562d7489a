"""Folds hold near duplicates together and labels apart evenly."""

import numpy as np

from organize.labels.folds import assign_folds


def test_groups_stay_together_and_labels_are_spread() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), [200, 100, 40, 10])
    groups = np.array([f"g{number // 2}" for number in range(len(labels))])
    fold = assign_folds(labels, groups, 5, seed=7)
    for name in np.unique(groups):
        assert len(set(fold[groups == name])) == 1
    for label in range(4):
        sizes = np.bincount(fold[labels == label], minlength=5)
        assert sizes.max() - sizes.min() <= 2, (label, sizes)
    order = random.permutation(len(labels))
    assert (assign_folds(labels[order], groups[order], 5, seed=7) == fold[order]).all()
    assert (assign_folds(labels, groups, 5, seed=8) != fold).any()


def test_a_group_of_two_labels_is_in_one_fold() -> None:
    labels = np.array([0, 1, 0, 1, 0, 1])
    groups = np.array(["a", "a", "b", "b", "c", "c"])
    fold = assign_folds(labels, groups, 3, seed=1)
    assert sorted(fold[::2]) == [0, 1, 2] and (fold[::2] == fold[1::2]).all()
