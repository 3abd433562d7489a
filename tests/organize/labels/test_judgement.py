"""The first tier finds labels that were changed at random, and says what they were."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from organize.labels import judgement, verdicts
from organize.labels.judgement import Judgement
from organize.labels.neighbours import votes
from organize.labels.probe import Floats, Probe, Projection
from organize.labels.scorer import thresholds

_LABELS, _ROWS = 5, 1500


def _vectors(truth: NDArray[np.int64], random: np.random.Generator) -> Floats:
    """Noisy vectors of length 1 around a centre for each label."""
    centres = random.normal(size=(_LABELS, 96))
    vectors = centres[truth] + 1.6 * random.normal(size=(len(truth), 96))
    unit: Floats = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


@pytest.fixture(scope="module")
def flipped() -> tuple[NDArray[np.int64], NDArray[np.int64], Judgement]:
    random = np.random.default_rng(2)
    truth = random.integers(0, _LABELS, _ROWS)
    labels = np.where(
        random.random(_ROWS) < 0.1, (truth + random.integers(1, _LABELS, _ROWS)) % _LABELS, truth
    )
    groups = np.array([f"g{number}" for number in range(_ROWS)])
    return truth, labels, judgement.judge(_vectors(truth, random), labels, groups, _LABELS, 5, seed=7)


def test_flipped_labels_have_the_lowest_quality(
    flipped: tuple[NDArray[np.int64], NDArray[np.int64], Judgement],
) -> None:
    truth, labels, judged = flipped
    wrong = truth != labels
    assert roc_auc_score(wrong, -judged.quality) > 0.98
    doubted = np.argsort(judged.quality)[: wrong.sum()]
    assert wrong[doubted].mean() > 0.85
    assert judged.quality.min() >= 0 and judged.quality.max() <= 1
    assert wrong[judged.issues].mean() > 0.85


def test_issues_name_the_true_label_and_say_why(
    flipped: tuple[NDArray[np.int64], NDArray[np.int64], Judgement],
) -> None:
    truth, labels, judged = flipped
    names = [f"label{number}" for number in range(_LABELS)]
    found = verdicts.of_cross_validation(
        names, labels, judged.probabilities, judged.quality, judged.issues, judged.near, "a probe"
    )
    suggested = [(row, each) for row, each in enumerate(found) if each.suggested]
    right = [each.suggested == names[truth[row]] for row, each in suggested]
    assert np.mean(right) > 0.9 and len(suggested) > 100
    row, example = suggested[0]
    assert example.reason is not None
    assert (
        example.reason.startswith(f"a probe: {example.suggested} ") and names[labels[row]] in example.reason
    )
    assert all(each.reason is None for each in found if each.suggested is None)


def test_a_picture_is_not_judged_by_its_copies() -> None:
    """Ten exact copies with one wrong label would vote for it, if they were asked."""
    random = np.random.default_rng(3)
    truth = random.integers(0, _LABELS, 600)
    vectors, labels = _vectors(truth, random), truth.copy()
    copies = np.flatnonzero(truth == 0)[:10]
    vectors[copies], labels[copies] = vectors[copies[0]], 1
    groups = np.array([f"g{number}" for number in range(600)])
    groups[copies] = "copies"
    judged = judgement.judge(vectors, labels, groups, _LABELS, 5, seed=7)
    assert judged.quality[copies].max() < 0.2
    shares = votes(vectors, labels, np.unique(groups, return_inverse=True)[1], np.arange(600), _LABELS)
    assert shares[copies, 1].max() < 0.5
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-5)


def test_projection_keeps_distances_and_needs_no_more_components_than_rows() -> None:
    vectors = np.random.default_rng(4).normal(size=(6, 40)).astype(np.float32)
    projected = Projection.fit(vectors)(vectors)
    assert projected.shape == (6, 5)
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    kept = np.linalg.norm(projected[:, None] - projected[None], axis=2)
    assert np.allclose(kept / distances.max() * distances.max(), kept)
    ratio = kept[np.triu_indices(6, 1)] / distances[np.triu_indices(6, 1)]
    assert np.allclose(ratio, ratio[0], rtol=1e-3)


def test_probe_separates_what_a_line_separates_and_a_penalty_shrinks_it() -> None:
    random = np.random.default_rng(5)
    features = random.normal(size=(400, 2)).astype(np.float32)
    labels = (features[:, 0] > 0.3).astype(np.int64)
    free, shrunk = (Probe.fit(features, labels, 2, penalty) for penalty in (1e-4, 1.0))
    assert (free.probabilities(features).argmax(axis=1) == labels).mean() > 0.98
    assert np.abs(shrunk.weights[:-1]).sum() < np.abs(free.weights[:-1]).sum() / 5


def test_new_pictures_are_doubted_where_another_label_is_sure_and_theirs_is_not() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.45, 0.55], [0.1, 0.9], [0.6, 0.4]], np.float32)
    sure = np.array([0.7, 0.75], np.float32)
    found = verdicts.of_scores(
        ["cat", "dog"], ["cat", "cat", "cat", None, "owl"], probabilities, sure, "a probe"
    )
    assert [each and each.suggested for each in found] == [None, "dog", None, "dog", None]
    assert found[1] and found[1].reason == "a probe: dog 80%, cat 20%"
    assert found[3] and found[3].quality == 0 and "no label yet" in (found[3].reason or "")
    assert found[4] is None


def test_thresholds_are_mean_probabilities_of_own_pictures() -> None:
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [0.4, 0.6]], np.float32)
    assert np.allclose(thresholds(probabilities, np.array([0, 0, 1])), [0.8, 0.6])
