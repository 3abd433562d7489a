"""labels.csv has names as people write them."""

from pathlib import Path

import pytest

from conf.errors import SettingError
from lake.label_hierarchy import Hierarchy, Label


def listed(folder: Path, *rows: str) -> Hierarchy:
    file = folder / "labels.csv"
    file.write_text("\n".join(["\ufefflabel,parent,display_name", *rows]), encoding="utf-8")
    return Hierarchy.read(file)


def test_labels_and_parents_become_slugs_and_display_names_stay(tmp_path: Path) -> None:
    hierarchy = listed(tmp_path, "Süße Speisen,,", '"Crème brûlée, kalt",Süße Speisen,Crème brûlée')
    assert hierarchy.labels == {
        "susse_speisen": Label("susse_speisen", None, "Süße Speisen"),
        "creme_brulee_kalt": Label("creme_brulee_kalt", "susse_speisen", "Crème brûlée"),
    }


def with_aliases(folder: Path, *rows: str) -> Hierarchy:
    file = folder / "labels.csv"
    file.write_text("\n".join(["label,parent,display_name,aliases", *rows]), encoding="utf-8")
    return Hierarchy.read(file)


def test_a_label_stands_for_all_that_lies_below_it_and_each_comes_once(tmp_path: Path) -> None:
    hierarchy = with_aliases(
        tmp_path, "animal,,,", "cat,animal,,Kitty; House Cat", "dog,animal,,", "pug,dog,,", "ship,,,"
    )
    assert hierarchy.expand(["animal"]) == ["animal", "cat", "dog", "pug"]
    assert hierarchy.expand(["pug", "dog", "kitty", "unlisted"]) == ["pug", "dog", "cat", "unlisted"]
    assert hierarchy.resolve("house_cat") == "cat"
    assert hierarchy.expand([]) == []


def test_expansion_ends_where_labels_lie_below_each_other(tmp_path: Path) -> None:
    hierarchy = with_aliases(tmp_path, "a,b,,", "b,a,,")
    assert hierarchy.expand(["a"]) == ["a", "b"]


def test_labels_of_the_table_lie_below_those_of_the_file(tmp_path: Path) -> None:
    hierarchy = with_aliases(tmp_path, "fruit,,Fruit,").with_parents({"kiwi": "fruit", "fruit": "other"})
    assert hierarchy.expand(["fruit"]) == ["fruit", "kiwi"]
    assert hierarchy.labels["fruit"].parent is None


def test_alias_with_two_meanings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"labels\.csv.*alias 'dog' of 'cat' is a label itself"):
        with_aliases(tmp_path, "cat,,,Dog", "dog,,,")
    with pytest.raises(SettingError, match="'pet' is an alias of 'cat' and of 'dog'"):
        with_aliases(tmp_path, "cat,,,pet", "dog,,,pet")


def test_two_rows_of_one_slug_are_refused(tmp_path: Path) -> None:
    listed(tmp_path, "cat,,Cat", "cat,,Cat")
    with pytest.raises(SettingError, match=r"labels\.csv.*two rows are the label 'cat'"):
        listed(tmp_path, "cat,,Cat", "Cat,,Kitten")


def test_row_that_cannot_be_a_label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"labels\.csv.*'猫' has no letter a–z .*display_name"):
        listed(tmp_path, "猫,,Cat")


def test_parents_that_are_not_mirrored_may_be_written_as_names(tmp_path: Path) -> None:
    hierarchy = listed(tmp_path, "Road Signs,,", "left turn,Road Signs,")
    assert not hierarchy.may_flip(["left_turn"], ["Road signs"])
    assert hierarchy.may_flip(["cat"], ["Road signs"])
