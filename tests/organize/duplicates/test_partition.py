import random

from hypothesis import given, settings
from hypothesis import strategies as st

from organize.duplicates.partition import MAX_HOPS, Pair, components, partition

IMAGES = [f"{number:02d}" for number in range(14)]


@st.composite
def pairs(draw: st.DrawFn) -> list[Pair]:
    ends = st.tuples(st.sampled_from(IMAGES), st.sampled_from(IMAGES)).filter(lambda two: two[0] < two[1])
    chosen = draw(st.lists(ends, unique=True, max_size=40))
    # Few different scores, so that there are ties.
    return [Pair(*two, draw(st.sampled_from([0.9, 0.95, 1.0]))) for two in chosen]


def hops(found: list[Pair], start: str) -> dict[str, int]:
    """Images to their distance from one of them."""
    distance, waiting = {start: 0}, [start]
    for image in waiting:
        for pair in found:
            if image in pair[:2]:
                other = pair.second if image == pair.first else pair.first
                if other not in distance:
                    distance[other] = distance[image] + 1
                    waiting.append(other)
    return distance


def test_two_near_duplicates_are_a_group() -> None:
    assert partition([Pair("a", "b", 0.9)]).groups == (("a", "b"),)


def test_pictures_without_pairs_form_no_groups() -> None:
    assert partition([]).groups == ()


def test_copies_of_one_picture_are_a_group_though_they_differ_from_each_other() -> None:
    star = [Pair("a", "z", 0.9), Pair("b", "z", 0.95), Pair("c", "z", 0.99)]
    assert partition(star).groups == (("a", "b", "c", "z"),)
    assert partition(star).cut == ()


def test_a_chain_is_cut_at_its_weakest_pair_and_the_pair_is_reported() -> None:
    chain = [Pair("a", "b", 0.99), Pair("b", "c", 0.9), Pair("c", "d", 0.99)]
    divided = partition(chain)
    assert divided.groups == (("a", "b"), ("c", "d"))
    assert divided.cut == (Pair("b", "c", 0.9),)


def test_a_long_chain_forms_no_mega_group() -> None:
    chain = [Pair(f"{n:04d}", f"{n + 1:04d}", 0.9) for n in range(1000)]
    assert max(map(len, partition(chain).groups)) <= MAX_HOPS + 1


@given(pairs(), st.integers(0, 1000))
def test_any_order_of_the_pairs_gives_the_same_groups(found: list[Pair], seed: int) -> None:
    shuffled = list(found)
    random.Random(seed).shuffle(shuffled)
    assert partition(shuffled) == partition(found)


@given(pairs())
def test_each_image_is_in_at_most_one_group_and_groups_have_two_or_more(found: list[Pair]) -> None:
    groups = partition(found).groups
    members = [image for group in groups for image in group]
    assert len(members) == len(set(members))
    assert all(len(group) >= 2 for group in groups)


@given(pairs())
def test_the_ends_of_every_group_are_at_most_two_pairs_apart(found: list[Pair]) -> None:
    for group in partition(found).groups:
        for image in group:
            distance = hops(found, image)
            assert all(distance[other] <= MAX_HOPS for other in group)


@given(pairs())
def test_each_pair_is_in_a_group_or_reported_as_cut(found: list[Pair]) -> None:
    divided = partition(found)
    together = {image: group for group in divided.groups for image in group}
    inside = {pair for pair in found if together.get(pair.first, "x") == together.get(pair.second, "y")}
    assert inside.isdisjoint(divided.cut)
    assert inside | set(divided.cut) == set(found)


@given(pairs())
@settings(max_examples=60)
def test_components_can_be_divided_one_by_one(found: list[Pair]) -> None:
    one_by_one = [partition(component).groups for component in components(found)]
    assert sorted(group for groups in one_by_one for group in groups) == list(partition(found).groups)
