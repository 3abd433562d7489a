"""The faces that others are compared with: which pictures are taken, and whose are the nearest."""

import numpy as np
import pytest

from conf.settings import Settings
from lake.errors import DamagedSnapshot
from lake.pictures.pixels import RGB
from lake.snapshot import DatasetSnapshot, Split
from tests.support import tiny
from web.faces import gallery
from web.faces.gallery import Gallery, Identity


def _unit(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def _brightness(rgb: RGB) -> np.ndarray | None:
    """A vector of one number; None for a dark picture, as for one without a face."""
    return None if rgb.mean() < 50 else np.array([rgb.mean()], np.float32)


def test_the_nearest_picture_of_each_label_counts() -> None:
    found = Gallery(("a", "b", "c", "d"), _unit(0, 60, 90, 180))
    labels = {"a": "ada", "b": "ben", "c": "ada", "d": "cem"}
    nearest = found.nearest(_unit(80)[0], labels, 2)
    assert nearest == [Identity("ada", 0.0304), Identity("ben", 0.1206)]
    assert [each.label for each in found.nearest(_unit(80)[0], labels, 9)] == ["ada", "ben", "cem"]
    assert found.nearest(_unit(180)[0], labels, 1) == [Identity("cem", 0.0)]


def test_pictures_that_are_gone_are_forgotten() -> None:
    found = Gallery(("a", "b", "c"), _unit(0, 60, 90))
    left = found.only({"a": "ada", "c": "ada"})
    assert left.image_ids == ("a", "c")
    assert left.vectors.tolist() == _unit(0, 90).tolist()
    assert found.only({"a": "x", "b": "x", "c": "x"}) is found
    empty = found.only({})
    assert empty.nearest(_unit(0)[0], {}, 3) == []


def _written(settings: Settings, jpegs: dict[Split, list[tuple[str, int, bytes]]]) -> DatasetSnapshot:
    return tiny.write_snapshot(settings, "faces", ("one", "two"), jpegs, shard_rows=3)


def _jpeg(value: int) -> bytes:
    return tiny.jpeg(np.full((40, 40, 3), value, np.uint8))


def test_each_label_has_the_same_number_of_pictures_and_those_without_a_face_are_left_out(
    own: Settings,
) -> None:
    train = [
        (f"t{n}", n % 4 // 3, _jpeg(20 if n == 4 else 60 + n)) for n in range(16)
    ]  # three of four are "one"
    snapshot = _written(own, {Split.TRAIN: train, Split.VALIDATION: [], Split.TEST: [("x", 1, _jpeg(200))]})
    counts: list[int] = []
    found = gallery.build(snapshot, 10, _brightness, counts.append)
    assert found.image_ids == ("t0", "t1", "t2", "t3", "t5", "t7", "t11", "t15", "x")
    assert found.vectors.shape == (9, 1)
    assert counts == list(range(10))


def test_a_damaged_picture_is_named(own: Settings) -> None:
    snapshot = _written(own, {Split.TRAIN: [("bad", 0, b"no picture")], Split.VALIDATION: [], Split.TEST: []})
    with pytest.raises(DamagedSnapshot, match="picture bad cannot be decoded"):
        gallery.build(snapshot, 10, _brightness, lambda number: None)


def test_a_dataset_without_faces_gives_an_empty_gallery(own: Settings) -> None:
    dark = {Split.TRAIN: [("dark", 0, _jpeg(5))], Split.VALIDATION: [], Split.TEST: []}
    found = gallery.build(_written(own, dark), 10, _brightness, lambda number: None)
    assert found.image_ids == ()
    assert found.nearest(np.ones(1, np.float32), {}, 3) == []
