import hashlib
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from organize.duplicates.comparison.picture_square import square_of
from organize.duplicates.comparison.relation import Relation
from organize.duplicates.comparison.verification import Match, Print
from organize.duplicates.hash_bands import HASH_BITS, bands_of, bit_difference
from organize.duplicates.picture_store import PictureStore, StoredPicture
from tests.support.media import scenes


def image_id(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def stored(number: int, phash: int = 0, mirror: int = -1) -> StoredPicture:
    return StoredPicture(Print(image_id(number), square_of(scenes.scene(number)), (240, 180)), phash, mirror)


@given(st.integers(-(2**63), 2**63 - 1), st.sets(st.integers(0, 63), max_size=4), st.integers(0, 4))
def test_hashes_within_the_distance_are_equal_in_a_band(phash: int, flipped: set[int], distance: int) -> None:
    other = phash ^ sum(1 << bit for bit in flipped)
    other -= (other >> 63 & 1) << 64 if other >= 0 else 0
    assert bit_difference(phash, other) == len(flipped)
    if len(flipped) <= distance:
        assert any(a == b for a, b in zip(bands_of(phash, distance), bands_of(other, distance), strict=True))
    assert sum(band.bit_length() for band in bands_of(-1, distance)) == HASH_BITS


def test_prints_come_back_as_they_were_stored(tmp_path: Path) -> None:
    with PictureStore(tmp_path / "s.sqlite", 2) as store:
        store.add([stored(1), stored(2)])
        found = store.prints([image_id(1), image_id(9)])
        assert list(found) == [image_id(1)]
        assert np.array_equal(found[image_id(1)].square, stored(1).print.square)
        assert found[image_id(1)].size == (240, 180)
        assert store.missing([image_id(2), image_id(9)]) == {image_id(9)}


def test_a_picture_is_found_by_its_hash_and_by_that_of_its_mirror_image(tmp_path: Path) -> None:
    with PictureStore(tmp_path / "s.sqlite", 2) as store:
        store.add(
            [
                stored(1, phash=0b1011),
                stored(2, phash=0b1000),
                stored(3, phash=-1),
                stored(4, phash=2**40 - 1),
            ]
        )
        store.add([stored(5, phash=0b1010, mirror=-1)])
        assert set(store.same_hash(image_id(5), 10)) == {image_id(1), image_id(2), image_id(3)}
        assert store.same_hash(image_id(9), 10) == []
        assert len(store.same_hash(image_id(5), 2)) == 2


def test_another_distance_finds_other_pictures(tmp_path: Path) -> None:
    with PictureStore(tmp_path / "s.sqlite", 0) as store:
        store.add([stored(1, phash=-8), stored(2, phash=-7)])
        assert store.same_hash(image_id(1), 10) == []
    with PictureStore(tmp_path / "s.sqlite", 1) as store:
        assert store.same_hash(image_id(1), 10) == [image_id(2)]


def test_forgotten_images_leave_no_bytes_in_the_files(tmp_path: Path) -> None:
    first, second = sorted((image_id(1), image_id(2)))
    match = Match(first, second, Relation.RESIZED, 0.99, 30.0)
    with PictureStore(tmp_path / "s.sqlite", 2) as store:
        store.add(stored(number, phash=number) for number in range(50))
        store.add_pairs(3, [match])
        assert store.pairs_of([image_id(1)]) == [match]
        assert store.keep_only([image_id(number) for number in range(2, 50)]) == 2
        assert len(store) == 48
        assert store.pairs_of([image_id(2)]) == []
        files = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert bytes.fromhex(image_id(1)) not in files
    assert stored(1).print.square.tobytes()[:200] not in files
    assert bytes.fromhex(image_id(5)) in files
