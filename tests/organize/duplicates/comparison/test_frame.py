"""A frame that somebody added is found and left out; what belongs to a picture stays."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from lake.pictures import pixels
from organize.duplicates.comparison.frame import inside
from organize.duplicates.comparison.relation import Relation
from organize.duplicates.comparison.verification import verify
from organize.duplicates.prints import describe
from streaming.verify.phash import phash
from tests.support.media import scenes


def stored(rgb: scenes.RGB) -> scenes.RGB:
    """Through the JPEG of the ledger."""
    return pixels.decode(pixels.encode_jpeg(rgb, 90), 1024)


def tiny(seed: int) -> scenes.RGB:
    """A scene of 32 × 24 pixels."""
    return scenes.resized(scenes.scene(seed), 32 / 240)


@pytest.mark.parametrize("colour", [255, 0])
@pytest.mark.parametrize("make", [scenes.scene, tiny])
def test_a_frame_is_left_out(make: Callable[[int], scenes.RGB], colour: int) -> None:
    for seed in range(10):
        rgb = make(seed)
        width = rgb.shape[1] // 16
        framed = np.pad(rgb, ((width, width), (width, width), (0, 0)), constant_values=colour)
        left = np.subtract(inside(stored(framed)).shape, rgb.shape)
        assert np.abs(left).max() <= 2, (seed, left)


def test_bars_at_two_opposite_sides_are_left_out() -> None:
    rgb = scenes.scene(3, 240, 160)
    for widths in (((30, 30), (0, 0), (0, 0)), ((0, 0), (20, 24), (0, 0))):
        assert inside(stored(np.pad(rgb, widths))).shape == rgb.shape


def test_pictures_without_a_frame_stay_whole() -> None:
    for seed in range(20):
        rgb = stored(scenes.scene(seed))
        assert inside(rgb) is rgb
        wall = stored(scenes.wall(seed))
        assert inside(wall) is wall
    turned = stored(scenes.turned(scenes.scene(1)))
    assert inside(turned) is turned, "black corners are no frame"
    blank = np.full((40, 60, 3), 255, np.uint8)
    assert inside(blank) is blank


def test_a_drawing_on_paper_keeps_its_paper() -> None:
    paper = np.full((120, 120, 3), 250, np.uint8)
    cv2.ellipse(paper, (60, 60), (32, 48), 20, 0, 360, (20, 20, 20), 6)
    shown = stored(paper)
    assert inside(shown) is shown


def test_a_framed_copy_has_the_hash_of_its_picture_and_is_its_crop() -> None:
    rgb = tiny(5)
    framed = scenes.framed(rgb)
    own, copy = (
        describe(
            name, stored(each), (each.shape[1], each.shape[0]), phash(cv2.cvtColor(each, cv2.COLOR_RGB2GRAY))
        )
        for name, each in (("a" * 64, rgb), ("b" * 64, framed))
    )
    assert (own.phash ^ copy.phash).bit_count() <= 3
    assert not own.print.framed and copy.print.framed
    match = verify(own.print, copy.print)
    assert match is not None and match.is_near_duplicate() and match.relation is Relation.CROPPED
