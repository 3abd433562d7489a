"""What a dataset shall contain: filters in manifests, class weights, quotas of a cap. Without Spark."""

from pathlib import Path

import pytest

from conf.errors import UsageError
from lake.snapshot import Split
from organize.datasets.choice import quotas
from organize.datasets.selection import Selection, class_weights

TRAIN, VALIDATION, TEST = Split


def test_a_manifest_has_only_what_differs_from_the_defaults() -> None:
    assert Selection().filter() == {}
    assert Selection(where="user = 'u'", cap=5, without_flags=("dark",), weights="balanced").filter() == {
        "where": "user = 'u'",
        "cap": 5,
        "without_flags": ["dark"],
    }


def test_balanced_weights_give_each_label_the_same_sum_and_images_a_mean_of_one() -> None:
    counts = {"cat": 300, "dog": 100, "owl": 50}
    weights = class_weights("balanced", counts)
    sums = {label: weights[label] * images for label, images in counts.items()}
    assert sums == pytest.approx(dict.fromkeys(counts, 150), abs=1e-3)
    assert class_weights("none", counts) == {}
    assert class_weights("balanced", {"cat": 4, "dog": 0}) == {"cat": 1.0, "dog": 1.0}


def test_weights_of_a_file_name_labels_as_people_write_them(tmp_path: Path) -> None:
    file = tmp_path / "weights.csv"
    file.write_text("label,weight\nCat,2\ndog , 0.5\n\nother,3\n")
    assert class_weights(str(file), {"cat": 1, "dog": 1}) == {"cat": 2.0, "dog": 0.5}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory; give balanced, none or a CSV"),
        (b"cat,1\n", "no weight of 'dog'; add a line dog,1.0"),
        (b"cat;1\n", "'cat;1' is not label,weight"),
        (b"cat,much\n", "'cat,much' is not label,weight"),
        (b"cat,0\ndog,1\n", "the weight of 'cat' is 0, it must be above 0"),
        (b"cat,nan\ndog,1\n", "the weight of 'cat' is nan"),
        (b"\xff\xfe\x00", "UnicodeDecodeError"),
    ],
)
def test_a_bad_file_of_weights_is_one_line(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "weights.csv"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        class_weights(str(file), {"cat": 1, "dog": 1})
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("counts", "cap", "expected"),
    [
        ({TRAIN: 80, VALIDATION: 10, TEST: 10}, 50, {TRAIN: 40, VALIDATION: 5, TEST: 5}),
        ({TRAIN: 80, VALIDATION: 10, TEST: 10}, 100, {TRAIN: 80, VALIDATION: 10, TEST: 10}),
        ({TRAIN: 80, VALIDATION: 10, TEST: 10}, 7, {TRAIN: 5, VALIDATION: 1, TEST: 1}),
        ({TRAIN: 3, TEST: 1}, 1, {TRAIN: 1, TEST: 0}),
    ],
)
def test_a_cap_keeps_the_shares_of_the_splits(
    counts: dict[Split, int], cap: int, expected: dict[Split, int]
) -> None:
    assert quotas(counts, cap) == expected
