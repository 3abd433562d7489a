"""Splits and the label hierarchy, without Spark."""

from collections import Counter
from pathlib import Path

import pytest

from conf.errors import SettingError
from conf.places import CONF
from lake.errors import NothingToOrganize
from lake.label_hierarchy import Hierarchy
from lake.snapshot import Split
from organize.splits.fractions import split_labels

FRACTIONS = (0.8, 0.1, 0.1)


def test_whole_labels_get_splits_in_the_requested_fractions() -> None:
    people = [f"person-{n}" for n in range(40)]
    splits = split_labels(people, 7, FRACTIONS)
    counts = Counter(splits.values())
    assert counts == {Split.TRAIN: 32, Split.VALIDATION: 4, Split.TEST: 4}
    assert split_labels(reversed(people), 7, FRACTIONS) == splits
    assert split_labels(people, 8, FRACTIONS) != splits


def test_a_new_label_changes_the_split_of_few_others() -> None:
    people = [f"person-{n}" for n in range(40)]
    before, after = (split_labels(names, 7, FRACTIONS) for names in (people, [*people, "new"]))
    assert sum(before[name] != after[name] for name in people) <= 2


def test_each_split_has_two_labels_or_the_dataset_is_refused() -> None:
    six = Counter(split_labels("abcdef", 7, FRACTIONS).values())
    assert six == dict.fromkeys(Split, 2)
    with pytest.raises(NothingToOrganize, match="5 labels are too few to split by label: 6 are needed"):
        split_labels("abcde", 7, FRACTIONS)
    assert Counter(split_labels("abcd", 7, (0.5, 0.5, 0.0)).values()) == {Split.TRAIN: 2, Split.VALIDATION: 2}


@pytest.mark.parametrize(
    ("names", "flips"),
    [(["cat", "dog"], True), (["0", "7"], False), (["cat", "7"], False), (["b"], False), (["mug"], True)],
)
def test_digits_and_letters_are_not_mirrored(names: list[str], flips: bool) -> None:
    hierarchy = Hierarchy.read(CONF / "labels.csv")
    assert hierarchy.may_flip(names, ["digit", "letter"]) is flips


def test_hierarchy_names_ancestors_and_survives_a_cycle(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("label,parent,display_name\na,b,A\nb,c,B\nc,a,C\n")
    assert list(Hierarchy.read(file).ancestors("a")) == ["b", "c"]


@pytest.mark.parametrize(
    "content", ["label;parent\n", "label,parent,display_name\na,nowhere,A\n", "\xff\xfe"]
)
def test_the_error_for_a_broken_labels_file_has_its_name(tmp_path: Path, content: str) -> None:
    file = tmp_path / "labels.csv"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(SettingError, match=r"labels\.csv"):
        Hierarchy.read(file)
