from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from organize.duplicates.group_ids import assign_ids, own_id

IMAGES = [f"{number:02d}" for number in range(8)]


def fresh(*images: str) -> dict[str, str]:
    return {image: own_id(image) for image in images}


def test_a_new_picture_has_an_id_that_does_not_name_it() -> None:
    ids = assign_ids([("ab" * 32,)], fresh("ab" * 32))
    assert ids.of_image == fresh("ab" * 32)
    assert "ab" * 4 not in ids.of_image["ab" * 32]


def test_a_picture_that_joins_a_group_gets_its_id() -> None:
    before = dict.fromkeys("ab", "g-old") | fresh("c")
    ids = assign_ids([("a", "b", "c")], before)
    assert set(ids.of_image.values()) == {"g-old"}
    assert ids.merged == {own_id("c"): "g-old"}


def test_the_larger_group_keeps_its_id_in_a_merge() -> None:
    before = dict.fromkeys("abc", "g-z") | dict.fromkeys("de", "g-a")
    ids = assign_ids([tuple("abcde")], before)
    assert set(ids.of_image.values()) == {"g-z"}
    assert ids.merged == {"g-a": "g-z"}


def test_a_divided_group_keeps_its_id_in_the_larger_part_and_the_other_gets_a_new_one() -> None:
    before = dict.fromkeys("abcde", "g-old")
    ids = assign_ids([("a", "b", "c"), ("d", "e")], before)
    assert {ids.of_image[image] for image in "abc"} == {"g-old"}
    new = {ids.of_image[image] for image in "de"}
    assert len(new) == 1 and new.isdisjoint({"g-old", own_id("d"), own_id("e")})
    assert ids.merged == {}


def test_an_id_does_not_end_while_an_image_outside_of_the_change_has_it() -> None:
    before = {"a": "g-1", "b": "g-2", "c": "g-2", "elsewhere": "g-1"}
    ids = assign_ids([("a", "b", "c")], before)
    assert ids.of_image == dict.fromkeys("abc", "g-2")
    assert ids.merged == {}


def test_the_same_change_again_changes_nothing() -> None:
    groups = [("a", "b"), ("c",)]
    once = assign_ids(groups, fresh("a", "b", "c"))
    again = assign_ids(groups, once.of_image)
    assert again.of_image == once.of_image
    assert again.merged == {}


@given(st.lists(st.lists(st.integers(0, 3), min_size=8, max_size=8), min_size=1, max_size=6))
def test_through_any_changes_groups_are_as_asked_and_no_ended_id_returns(steps: list[list[int]]) -> None:
    current: dict[str, str] = fresh(*IMAGES)
    ended: set[str] = set()
    for places in steps:
        wanted: dict[int, list[str]] = {}
        for image, place in zip(IMAGES, places, strict=True):
            wanted.setdefault(place, []).append(image)
        ids = assign_ids(list(map(tuple, wanted.values())), current, partial(frozenset, ended))
        found: dict[str, list[str]] = {}
        for image in IMAGES:
            found.setdefault(ids.of_image[image], []).append(image)
        assert sorted(found.values()) == sorted(wanted.values())
        assert ended.isdisjoint(ids.of_image.values())
        assert set(ids.merged.values()) <= set(ids.of_image.values())
        ended |= set(ids.merged)
        current = ids.of_image
