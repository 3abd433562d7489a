"""Near duplicates on their pixels; the pictures are scenes and walls of `tests.support.media.scenes`."""

from itertools import combinations

import pytest

from organize.duplicates.comparison.picture_square import square_of
from organize.duplicates.comparison.relation import Relation
from organize.duplicates.comparison.verification import SURE, Match, Print, verify
from tests.support.media import scenes

SEEDS = range(6)


def printed(name: str, rgb: scenes.RGB) -> Print:
    return Print(name, square_of(rgb), (rgb.shape[1], rgb.shape[0]))


def compare(one: scenes.RGB, other: scenes.RGB) -> Match | None:
    match = verify(printed("a", one), printed("b", other))
    return match if match and match.is_near_duplicate() else None


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("change", "relation"),
    [
        (lambda rgb: rgb.copy(), Relation.EXACT),
        (scenes.reencoded, Relation.REENCODED),
        (lambda rgb: scenes.lit(rgb, 1.1), Relation.REENCODED),
        (lambda rgb: scenes.lit(rgb, 0.9), Relation.REENCODED),
        (scenes.resized, Relation.RESIZED),
        (lambda rgb: scenes.cropped(rgb, 0.08), Relation.CROPPED),
        (lambda rgb: scenes.cropped(rgb, 0.15), Relation.CROPPED),
        (lambda rgb: scenes.cropped(rgb, 0.3), Relation.CROPPED),
        (scenes.framed, Relation.CROPPED),
        (scenes.mirrored, Relation.MIRRORED),
        (scenes.turned, Relation.SAME_SCENE),
    ],
    ids=[
        "copy", "q30", "lighter", "darker", "half", "crop 8 %", "crop 15 %", "crop 30 %", "border", "mirror",
        "turn",
    ],
)  # fmt: skip
def test_a_changed_copy_is_found_with_its_relation(seed: int, change: object, relation: Relation) -> None:
    original = scenes.scene(seed)
    match = compare(original, change(original))  # type: ignore[operator]
    assert match is not None
    assert match.relation is relation


def test_different_scenes_are_no_near_duplicates() -> None:
    prints = [printed(str(seed), scenes.scene(seed)) for seed in range(25)]
    assert not any(verify(one, other) for one, other in combinations(prints, 2))


def test_different_photographs_of_a_blank_wall_are_no_near_duplicates() -> None:
    prints = [printed(str(seed), scenes.wall(seed)) for seed in range(12)]
    assert not any(verify(one, other) for one, other in combinations(prints, 2))


def test_pictures_of_one_colour_are_near_duplicates_only_if_they_are_equal() -> None:
    light, dark = scenes.wall(0) * 0 + 200, scenes.wall(0) * 0 + 90
    assert compare(light, dark) is None
    exact = compare(light, light.copy())
    assert exact is not None and exact.relation is Relation.EXACT


def test_the_order_of_the_two_pictures_does_not_matter() -> None:
    one, other = printed("a", scenes.scene(1)), printed("b", scenes.cropped(scenes.scene(1), 0.2))
    assert verify(one, other) == verify(other, one)


def test_a_stricter_calibration_asks_for_more_agreement() -> None:
    match = Match("a", "b", Relation.CROPPED, 0.96, SURE + 0.5)
    assert match.is_near_duplicate()
    assert not match.is_near_duplicate(SURE + 1)
    assert Match("a", "b", Relation.CROPPED, 0.98, SURE + 0.5).is_near_duplicate(SURE + 1)
    assert not Match("a", "b", Relation.CROPPED, 0.98, SURE - 4).is_near_duplicate()
    assert Match("a", "b", Relation.RESIZED, 0.995, SURE - 4).is_near_duplicate(SURE + 9)


def test_embeddings_decide_where_pixels_leave_a_doubt() -> None:
    outline = Match("a", "b", Relation.SAME_SCENE, 0.93, SURE - 2.5)
    alike, strange = outline.with_likeness(0.8), outline.with_likeness(0.5)
    assert alike is not None and alike.is_near_duplicate()
    assert alike.significance == pytest.approx(SURE + 0.5)
    assert strange is not None and not strange.is_near_duplicate() and strange == outline
    other_view = Match("a", "b", Relation.SAME_SCENE, 0.78, SURE - 2)
    assert other_view.with_likeness(0.5) is None, "the correlation is too low without near embeddings"
    seen = other_view.with_likeness(0.85)
    assert seen is not None and seen.is_near_duplicate()
    assert not seen.is_near_duplicate(SURE + 6), "a lake whose random pairs are alike asks for more"
    exact = Match("a", "b", Relation.EXACT, 1.0, 1000.0)
    assert exact.with_likeness(1.0) == exact


@pytest.mark.parametrize("seed", SEEDS)
def test_a_tiny_copy_is_found_though_it_lacks_the_details(seed: int) -> None:
    original = scenes.resized(scenes.scene(seed), 0.4)
    match = compare(original, scenes.resized(scenes.scene(seed), 32 / 240))
    assert match is not None and match.relation is Relation.RESIZED
    assert match.correlation > 0.97
