import hashlib
import random

import numpy as np
import pytest

from organize.duplicates.calibration import LEAST_PAIRS, SAMPLE, TOLERATED, calibrate, random_pairs
from organize.duplicates.comparison.verification import SURE


def ids(count: int) -> list[str]:
    return [hashlib.sha256(str(number).encode()).hexdigest() for number in range(count)]


def drawn(scale: float, seed: int = 0) -> list[float]:
    return list(np.random.default_rng(seed).exponential(scale, 2000))


def test_pictures_that_differ_clearly_keep_the_default_threshold() -> None:
    result = calibrate(drawn(0.5), 10_000)
    assert result.sure == SURE
    assert result.expected_false < 1


def test_pictures_that_resemble_each_other_need_a_stricter_one() -> None:
    result = calibrate(drawn(1.0), 2_000)
    assert result.sure > SURE
    assert result.expected_false <= TOLERATED * 2_048


def test_a_larger_lake_needs_a_stricter_threshold() -> None:
    significances = drawn(0.9)
    assert calibrate(significances, 1_000_000).sure > calibrate(significances, 1_000).sure


def test_near_duplicates_among_the_random_pairs_change_little() -> None:
    clean = drawn(0.9)
    spoiled = clean[:1995] + [40.0] * 5
    assert abs(calibrate(spoiled, 5000).sure - calibrate(clean, 5000).sure) <= 2.0


def test_too_few_pairs_tell_nothing() -> None:
    result = calibrate([30.0] * (LEAST_PAIRS - 1), 70)
    assert (result.sure, result.expected_false) == (SURE, 0.0)


def test_the_same_images_give_the_same_random_pairs_in_any_order() -> None:
    images = ids(1000)
    shuffled = random.Random(1).sample(images, len(images))
    assert random_pairs(shuffled) == random_pairs(images)
    assert {image for pair in random_pairs(images) for image in pair} == set(sorted(images)[:SAMPLE])


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 12, 500])
def test_random_pairs_are_of_two_images_and_not_repeated(count: int) -> None:
    pairs = random_pairs(ids(count))
    assert len(pairs) == len(set(pairs))
    assert all(first < second for first, second in pairs)


def test_a_new_image_changes_few_of_the_random_pairs() -> None:
    images = ids(2000)
    before, after = set(random_pairs(images[:-1])), set(random_pairs(images))
    assert len(after - before) <= 30
