"""Metrics of an evaluation, checked on paper and against scikit-learn and SciPy."""

import io
import json
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import binomtest
from sklearn.metrics import (
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

from conf.settings import Settings
from lake.snapshot import Split
from models import messages
from models.evaluation import artifacts, contact_sheet
from models.evaluation.calibration import measure_calibration
from models.evaluation.confidence_intervals import wilson_interval
from models.evaluation.metrics import Evaluation, evaluate, evaluate_predictions, label_ranks, sum_metrics
from models.pictures.inputs import Pictures
from tests.support import tiny

LABELS = tuple("abcdefgh")


def random_predictions(pictures: int, seed: int = 1) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Probabilities (pictures, 8) that sum to 1, and true labels, often the most probable ones."""
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.full(8, 0.4), pictures)
    true = np.where(random.random(pictures) < 0.6, probabilities.argmax(1), random.integers(0, 8, pictures))
    return probabilities, true.astype(np.int32)


def evaluated(probabilities: NDArray[np.float64], true: NDArray[np.int32]) -> Evaluation:
    names = [f"p{row}" for row in range(len(true))]
    ranks = label_ranks(probabilities, true)
    return evaluate(
        LABELS, names, true, probabilities.argmax(1).astype(np.int32), probabilities.max(1), ranks
    )


def test_scores_are_those_of_scikit_learn() -> None:
    probabilities, true = random_predictions(500)
    found, predicted = evaluated(probabilities, true), probabilities.argmax(1)
    assert found.confusion.tolist() == confusion_matrix(true, predicted).tolist()
    theirs = zip(*precision_recall_fscore_support(true, predicted, zero_division=0), strict=True)
    ours = [(row.precision, row.recall, row.f1, row.support) for row in found.per_class]
    assert np.array(ours) == pytest.approx(np.array(list(theirs)))
    assert found.top5 == pytest.approx(top_k_accuracy_score(true, probabilities, k=5))
    assert found.accuracy == pytest.approx((true == predicted).mean())
    assert found.accuracy != found.top5


def test_ranks_count_higher_probabilities_and_earlier_ties() -> None:
    probabilities = np.array([[0.1, 0.6, 0.3], [0.4, 0.4, 0.2], [0.4, 0.4, 0.2], [0.2, 0.4, 0.4]])
    assert label_ranks(probabilities, np.array([0, 0, 1, 2], np.int32)).tolist() == [2, 0, 1, 1]
    random = np.random.default_rng(2).integers(0, 3, (200, 8)) / 10  # many ties
    assert (label_ranks(random, random.argmax(1).astype(np.int32)) == 0).all()


def test_sums_of_parts_equal_the_sum_of_all_and_ignore_padding() -> None:
    probabilities, true = random_predictions(150)
    probabilities[3, true[3]] = 0  # probability 0 for the true label, as float32 may give

    def pictures(rows: slice) -> Pictures:
        images = np.zeros((150, 36, 36, 3), np.uint8)
        images[:, 2, 2, 0] = np.arange(150)  # the first pixel inside the margin holds the row
        return Pictures(images[rows], true[rows], tuple(f"p{row}" for row in range(150))[rows])

    def predict(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
        assert rgb.dtype == np.float32 and rgb.shape[1:] == (32, 32, 3)
        return probabilities[rgb[:, 0, 0, 0].astype(int)].astype(np.float32)

    whole = sum_metrics(predict, pictures(slice(None)), 32)
    others = np.arange(150) != 3
    expected = log_loss(true[others], probabilities[others], normalize=False, labels=range(8))
    assert whole[0] == pytest.approx(expected - math.log(np.finfo(np.float32).tiny), rel=1e-5)
    assert whole[1:].tolist() == [(probabilities.argmax(1) == true).sum(), 150]
    parts = [sum_metrics(predict, pictures(rows), 32) for rows in (slice(70), slice(70, 150), slice(0))]
    assert sum(parts) == pytest.approx(whole)


@pytest.mark.parametrize(("correct", "pictures"), [(0, 1), (1, 1), (0, 20), (7, 20), (20, 20), (997, 1000)])
def test_intervals_are_those_of_scipy(correct: int, pictures: int) -> None:
    theirs = binomtest(correct, pictures).proportion_ci(0.95, method="wilson")
    ours = wilson_interval(correct, pictures)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert 0 <= ours.low <= correct / pictures <= ours.high <= 1


def test_the_interval_without_pictures_is_0_to_1() -> None:
    assert (wilson_interval(0, 0).low, wilson_interval(0, 0).high) == (0, 1)


def test_calibration_error_worked_out_on_paper() -> None:
    # Three bins: 0.2, 0.3 | 0.5 | 0.9, 1.0, 1.0 with 1 of 2, 1 of 1 and 2 of 3 correct.
    confidence = np.array([0.2, 0.3, 0.5, 0.9, 1.0, 1.0])
    correct = np.array([False, True, True, True, True, False])
    found = measure_calibration(confidence, correct, bins=3)
    assert [part.pictures for part in found.bins] == [2, 1, 3]
    assert [part.probability for part in found.bins] == pytest.approx([0.25, 0.5, 2.9 / 3])
    assert [part.accuracy for part in found.bins] == pytest.approx([0.5, 1, 2 / 3])
    assert found.error == pytest.approx((2 * 0.25 + 1 * 0.5 + 3 * (2.9 / 3 - 2 / 3)) / 6)


def test_a_probability_on_an_edge_is_in_the_bin_below() -> None:
    found = measure_calibration(np.array([0.0, 0.5, 0.51, 1.0]), np.ones(4, bool), bins=2)
    assert [part.pictures for part in found.bins] == [2, 2]
    assert len(measure_calibration(np.array([0.3]), np.ones(1, bool)).bins) == 15


def test_calibration_error_is_0_if_always_right_and_1_if_always_wrong_at_full_confidence() -> None:
    assert measure_calibration(np.ones(9), np.ones(9, bool)).error == 0
    assert measure_calibration(np.ones(9), np.zeros(9, bool)).error == 1
    assert measure_calibration(np.ones(0), np.ones(0, bool)).error is None


def test_predictions_of_several_workers_give_the_evaluation_of_one() -> None:
    probabilities, true = random_predictions(101)
    whole = evaluated(probabilities, true)
    shares = [
        messages.Tested(
            worker,
            [f"p{row}" for row in rows],
            true[rows].tolist(),
            probabilities[rows].argmax(1).tolist(),
            probabilities[rows].max(1).tolist(),
            label_ranks(probabilities[rows], true[rows]).tolist(),
        )
        for worker, rows in enumerate((np.arange(50), np.arange(50, 101)))
    ]
    together = evaluate_predictions(LABELS, shares)
    assert artifacts.report(together) == artifacts.report(whole)
    assert [mistake.image_id for mistake in whole.mistakes] == [f"p{m.row}" for m in whole.mistakes]


def test_the_report_is_json_with_every_metric() -> None:
    probabilities, true = random_predictions(300)
    report = json.loads(json.dumps(artifacts.report(evaluated(probabilities, true))))
    assert report["accuracy_interval"]["low"] < report["accuracy"] < report["accuracy_interval"]["high"]
    assert report["accuracy"] < report["top5_accuracy"] < report["top5_interval"]["high"] <= 1
    assert sum(part["pictures"] for part in report["calibration"]) == report["pictures"] == 300
    assert 0 < report["calibration_error"] < 1
    row = report["per_class"][0]
    assert row["recall_interval"]["low"] < row["recall"] < row["recall_interval"]["high"]
    figures = artifacts.summary_metrics(evaluated(probabilities, true), "labels")
    assert figures["test_accuracy_low"] == report["accuracy_interval"]["low"]


def test_without_pictures_metrics_are_none() -> None:
    none = np.zeros(0, np.int32)
    found = evaluate(LABELS, (), none, none, np.zeros(0), none)
    figures = artifacts.summary_metrics(found, "labels")
    assert figures == {"test_accuracy": None, "test_top5": None, "calibration_error": None}


def evaluation_with_mistakes(rows: list[int], snapshot_rows: int) -> Evaluation:
    """An evaluation in which these rows are predicted as the next label, with decreasing probability."""
    true = np.arange(snapshot_rows, dtype=np.int32) % 4
    predicted, confidence = true.copy(), np.full(snapshot_rows, 0.99)
    for place, row in enumerate(rows):
        predicted[row], confidence[row] = (true[row] + 1) % 4, 0.95 - place / 100
    names = [f"test-{row}" for row in range(snapshot_rows)]
    return evaluate(tiny.LABELS, names, true, predicted, confidence, (true != predicted).astype(np.int32))


def test_a_contact_sheet_shows_the_most_confident_mistakes_first(settings: Settings) -> None:
    snapshot = tiny.snapshot(settings, "sheet", (8, 4, 230))
    # Row 202 (green) and row 3 (red) lie in different shards.
    found = evaluation_with_mistakes([202, 3], 230)
    random_predictions = Image.open(io.BytesIO(contact_sheet.mistakes_sheet(found, snapshot, "m")))
    first, second = (
        np.asarray(
            random_predictions.crop(
                (
                    left,
                    contact_sheet.TITLE_HEIGHT,
                    left + contact_sheet.SIDE,
                    contact_sheet.TITLE_HEIGHT + contact_sheet.SIDE,
                )
            )
        ).mean((0, 1))
        for left in (contact_sheet.GAP, 2 * contact_sheet.GAP + contact_sheet.SIDE)
    )
    assert first.argmax() == 1 and second.argmax() == 0
    assert len(snapshot.shards[Split.TEST]) == 3


def test_a_contact_sheet_has_a_maximum_size_and_works_without_mistakes(settings: Settings) -> None:
    snapshot = tiny.snapshot(settings, "sheet", (8, 4, 230))
    many = Image.open(
        io.BytesIO(
            contact_sheet.mistakes_sheet(evaluation_with_mistakes(list(range(60)), 230), snapshot, "m")
        )
    )
    rows = contact_sheet.MAX_SHOWN // contact_sheet.COLUMNS
    assert many.height == contact_sheet.TITLE_HEIGHT + rows * (
        contact_sheet.SIDE + contact_sheet.CAPTION_HEIGHT + contact_sheet.GAP
    )
    none = Image.open(
        io.BytesIO(contact_sheet.mistakes_sheet(evaluation_with_mistakes([], 230), snapshot, "m"))
    )
    assert none.height == contact_sheet.TITLE_HEIGHT
