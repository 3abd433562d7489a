"""The digits as phone pictures: the same on every run, upright, no near duplicates."""

import io
from hashlib import sha256
from itertools import combinations, islice

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from lake.pictures import pixels
from lake.pictures.formats import Format
from lake.pictures.orientation import orientation_of
from streaming.sources.digits import DigitsSource
from streaming.sources.items import Item, Skipped
from streaming.verify.phash import phash


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return list(DigitsSource().items(Skipped()))


def gray(item: Item) -> np.ndarray:
    return cv2.cvtColor(pixels.decode(item.content, 160), cv2.COLOR_RGB2GRAY)


def test_digits_are_1797_with_ten_labels(items: list[Item]) -> None:
    assert len(items) == 1797
    assert {item.label for item in items} == set("0123456789")
    assert len({item.name for item in items}) == 1797


def test_digits_have_the_same_bytes_on_every_run(items: list[Item]) -> None:
    again = list(islice(DigitsSource().items(Skipped()), 100))
    assert again == items[:100]
    assert len({sha256(item.content).digest() for item in items}) == 1797


def test_digits_are_jpegs_of_96_to_160_pixels(items: list[Item]) -> None:
    for item in items[:200]:
        with Image.open(io.BytesIO(item.content)) as image:
            assert image.format == "JPEG"
            assert 96 <= min(image.size) <= max(image.size) <= 160


def test_exif_has_orientation_time_and_sometimes_gps(items: list[Item]) -> None:
    exifs = [Image.open(io.BytesIO(item.content)).getexif() for item in items[:100]]
    assert {exif[ExifTags.Base.Orientation] for exif in exifs} == {1, 3, 6, 8}
    located = [bool(exif.get_ifd(ExifTags.IFD.GPSInfo)) for exif in exifs]
    assert any(located)
    assert not all(located)
    assert all(exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] for exif in exifs)


def test_every_digit_is_upright_once_its_orientation_is_applied(items: list[Item]) -> None:
    """Each picture resembles its own scan more than the rotated scan."""
    from sklearn.datasets import load_digits

    scans = load_digits().images
    turned = set()
    for number in range(300):
        item = items[number]
        orientation = orientation_of(item.content, Format.JPEG)
        if orientation == 1:
            continue
        ink = 255.0 - gray(item)
        likeness = [_likeness(ink, np.rot90(scans[number], turns)) for turns in range(4)]
        if item.label in set("234579"):  # the others look similar upside down
            turned.add((orientation, int(np.argmax(likeness)) == 0))
    assert {orientation for orientation, upright in turned if upright} == {3, 6, 8}
    assert not [orientation for orientation, upright in turned if not upright]


def _likeness(ink: np.ndarray, scan: np.ndarray) -> float:
    side = min(ink.shape)
    top, left = (ink.shape[0] - side) // 2, (ink.shape[1] - side) // 2
    small = cv2.GaussianBlur(ink[top : top + side, left : left + side], (0, 0), 5)
    large = cv2.resize(scan, (side, side), interpolation=cv2.INTER_CUBIC)
    found = cv2.matchTemplate(
        cv2.copyMakeBorder(small, 20, 20, 20, 20, cv2.BORDER_REPLICATE).astype(np.float32),
        cv2.resize(large, None, fx=0.82, fy=0.82).astype(np.float32),
        cv2.TM_CCOEFF_NORMED,
    )
    return float(found.max())


def test_near_duplicates_by_perceptual_hash_are_rare(items: list[Item]) -> None:
    hashes = np.array([phash(gray(item)) for item in items], np.int64).view(np.uint64)
    distances = np.array([np.bitwise_count(a ^ b) for a, b in combinations(hashes, 2)])
    assert (distances == 0).sum() == 0
    assert (distances <= 2).sum() <= 10
