"""The first tier of the label check: a linear probe and nearest neighbours, judged by cleanlab.

Each picture is judged by models that saw neither it nor its near duplicates.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organize.labels import neighbours
from organize.labels.folds import assign_folds
from organize.labels.probe import Floats, Probe, Projection

PENALTIES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)  # tried on an inner validation
PENALTY_ROWS = 10_000  # of the inner validation, at most
MIXTURES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)  # share of the neighbours in the probabilities


@dataclass(frozen=True)
class Judgement:
    """What models say about labels.

    Args:
        probabilities: of the labels, float32 (rows, labels), by models that did not see the row.
        near: share of the labels among similar pictures, float32 (rows, labels).
        quality: of each row's label, 0 to 1.
        issues: rows whose label is probably wrong.
        penalty, mixture: what the inner validation chose.
    """

    probabilities: Floats
    near: Floats
    quality: Floats
    issues: NDArray[np.bool_]
    penalty: float
    mixture: float


def judge(
    vectors: Floats, labels: NDArray[np.int64], groups: NDArray[np.str_], count: int, folds: int, seed: int
) -> Judgement:
    """Judge labels by embeddings.

    Args:
        vectors: float32 (rows, numbers) of length 1.
        labels: label index of each row; every label has rows of at least `folds` groups.
        groups: duplicate group of each row.
        count: of labels.
        folds: of the cross-validation.
        seed: of the folds.
    """
    features = Projection.fit(vectors)(vectors)
    fold = assign_folds(labels, groups, folds, seed)
    penalty = choose_penalty(features, labels, fold, count)
    linear = np.empty((len(features), count), np.float32)
    for each in range(folds):
        held = fold == each
        linear[held] = Probe.fit(features[~held], labels[~held], count, penalty).probabilities(features[held])
    numbers = np.unique(groups, return_inverse=True)[1]
    chosen = np.random.default_rng(seed).permutation(len(features))[: neighbours.REFERENCES]
    near = neighbours.votes(features, labels, numbers, np.sort(chosen), count)
    mixture = max(MIXTURES, key=lambda share: likelihood((1 - share) * linear + share * near, labels))
    probabilities = (1 - mixture) * linear + mixture * near
    return Judgement(probabilities, near, *confident_learning(probabilities, labels), penalty, mixture)


def choose_penalty(features: Floats, labels: NDArray[np.int64], fold: NDArray[np.int64], count: int) -> float:
    """The penalty with the best likelihood on one fold, of probes that learn from the others."""
    step = -(-len(labels) // PENALTY_ROWS)
    features, labels, fold = features[::step], labels[::step], fold[::step]
    held, learned = fold == 0, fold != 0
    scores = {
        penalty: likelihood(
            Probe.fit(features[learned], labels[learned], count, penalty).probabilities(features[held]),
            labels[held],
        )
        for penalty in PENALTIES
    }
    return max(scores, key=lambda penalty: scores[penalty])


def likelihood(probabilities: Floats, labels: NDArray[np.int64]) -> float:
    """Mean log probability of the labels."""
    own = probabilities[np.arange(len(labels)), labels]
    return float(np.log(np.maximum(own, 1e-7)).mean())


def confident_learning(probabilities: Floats, labels: NDArray[np.int64]) -> tuple[Floats, NDArray[np.bool_]]:
    """Quality of each label (0 to 1), and whether it is probably wrong, by cleanlab.

    Source: confident learning, Northcutt, Jiang, Chuang 2021.
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    quality = get_label_quality_scores(labels, exact, method="self_confidence")
    issues = find_label_issues(labels, exact, filter_by="low_self_confidence", n_jobs=1)
    return quality.astype(np.float32), np.asarray(issues, np.bool_)
