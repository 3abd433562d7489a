import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from organize.duplicates.comparison.picture_square import square_of
from organize.duplicates.comparison.relation import Relation
from organize.duplicates.comparison.verification import Print
from organize.duplicates.picture_store import PictureStore, StoredPicture
from organize.duplicates.search import MAX_CANDIDATES, ImagePair, search, significance_of
from tests.support.media import scenes


def image_id(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def stored(name: str, rgb: scenes.RGB, phash: int, mirror: int = 1) -> StoredPicture:
    size = (rgb.shape[1], rgb.shape[0])
    return StoredPicture(Print(image_id(name), square_of(rgb), size), phash, mirror)


@pytest.fixture
def store(tmp_path: Path) -> PictureStore:
    store = PictureStore(tmp_path / "pictures.sqlite", 2)
    original = scenes.scene(1)
    store.add([stored("original", original, 0b111), stored("other", scenes.scene(2), 0b110)])
    store.add(
        [
            stored("mirror", scenes.mirrored(original), -1),
            stored("crop", scenes.cropped(original, 0.2), 2**50),
        ]
    )
    return store


def test_candidates_come_from_hashes_and_from_embeddings_and_are_verified(store: PictureStore) -> None:
    store.add([stored("new", scenes.reencoded(scenes.scene(1)), 0b101, mirror=-2)])
    by_hash = search(store, [image_id("new")], {})
    assert by_hash.compared == 3
    assert {m.relation for m in by_hash.matches} == {Relation.REENCODED, Relation.MIRRORED}
    with_neighbours = search(
        store, [image_id("new")], {image_id("new"): [image_id("crop"), image_id("gone")]}
    )
    assert {m.relation for m in with_neighbours.matches} == {
        Relation.REENCODED, Relation.MIRRORED, Relation.CROPPED,
    }  # fmt: skip


def test_a_pair_is_compared_once_though_both_pictures_are_new(store: PictureStore) -> None:
    one, other = image_id("original"), image_id("crop")
    found = search(store, [one, other], {one: [other, one], other: [one, other]})
    assert len(found.matches) == 1
    assert found.compared == 2  # and the picture with a similar hash


def test_no_image_has_more_candidates_than_the_limit(store: PictureStore) -> None:
    store.add(stored(f"blank {n}", scenes.wall(n), 0b111) for n in range(60))
    neighbours = {image_id("original"): [image_id(f"far {n}") for n in range(90)]}
    found = search(store, [image_id("original")], neighbours)
    assert found.compared == MAX_CANDIDATES
    assert found.crowded == 1


def test_the_significance_of_any_pair_can_be_measured(store: PictureStore) -> None:
    pairs = [(image_id("original"), image_id("other")), (image_id("original"), image_id("crop"))]
    found = significance_of(store, pairs)
    assert list(found) == pairs
    assert found[pairs[0]] < 8 < found[pairs[1]]


def test_the_cosines_of_pairs_whose_pixels_may_agree_count(store: PictureStore) -> None:
    one, other = image_id("original"), image_id("crop")
    asked: list[ImagePair] = []

    def cosines(pairs: Sequence[ImagePair]) -> dict[ImagePair, float]:
        asked.extend(pairs)
        return dict.fromkeys(pairs, 0.78)

    (plain,) = search(store, [one], {one: [other]}).matches
    (alike,) = search(store, [one], {one: [other]}, cosines).matches
    assert asked == [(min(one, other), max(one, other))], "not of what differs on its pixels"
    assert alike.significance == pytest.approx(plain.significance + 3)
    random = significance_of(store, asked, cosines)
    assert random[asked[0]] == pytest.approx(significance_of(store, asked)[asked[0]] + 3)
