"""Links in a folder: each entry is sent or counted, circles end, nothing is read twice."""

import os
import socket
from pathlib import Path

import pytest

from streaming.errors import BadSource
from streaming.sources.folders import open_source
from streaming.sources.items import Item, Skipped
from streaming.sources.labels.labelling import Labelling
from tests.support.archives import LIMITS, PICTURE, foldered


def read(path: Path, follow: bool = False) -> tuple[list[Item], Skipped]:
    skipped = Skipped()
    return list(open_source(str(path), Labelling(), LIMITS, follow).items(skipped)), skipped


@pytest.fixture
def subset(tmp_path: Path) -> Path:
    """A subset of a dataset: one class of its own, two that are links to class folders elsewhere."""
    foldered(tmp_path / "full", {f"{label}/{n}.jpg": PICTURE for label in ("cat", "dog") for n in range(2)})
    folder = foldered(tmp_path / "subset", {"bird/0.jpg": PICTURE})
    for label in ("cat", "dog"):
        (folder / label).symlink_to(f"../full/{label}")
    return folder


def test_class_folders_that_are_links_are_counted_by_name(subset: Path) -> None:
    items, skipped = read(subset)
    assert [item.name for item in items] == ["bird/0.jpg"]
    assert skipped.names == {"link that leads out of the folder": ["cat", "dog"]}


def test_class_folders_that_are_links_are_sent_on_request(subset: Path) -> None:
    items, skipped = read(subset, follow=True)
    labels = [(item.name, item.label) for item in items]
    assert labels == [
        ("bird/0.jpg", "bird"),
        ("cat/0.jpg", "cat"),
        ("cat/1.jpg", "cat"),
        ("dog/0.jpg", "dog"),
        ("dog/1.jpg", "dog"),
    ]
    assert not skipped.counts


def test_folder_of_links_only_names_the_flag(subset: Path) -> None:
    (subset / "bird/0.jpg").unlink()
    with pytest.raises(BadSource, match=r"2 × link that leads out of the folder.*--follow-links"):
        read(subset)


def test_pictures_that_are_links_out_of_the_folder_are_sent_on_request(tmp_path: Path) -> None:
    store = foldered(tmp_path / "store", {"ab/cdef.jpg": PICTURE})
    folder = foldered(tmp_path / "in", {"cat/1.jpg": PICTURE})
    (folder / "cat/2.jpg").symlink_to(store / "ab/cdef.jpg")
    assert [item.name for item in read(folder, follow=True)[0]] == ["cat/1.jpg", "cat/2.jpg"]
    assert read(folder)[1].names == {"link that leads out of the folder": ["cat/2.jpg"]}


@pytest.mark.parametrize("follow", [False, True])
def test_links_that_lead_nowhere_are_counted(tmp_path: Path, follow: bool) -> None:
    folder = foldered(tmp_path / "in", {"cat/1.jpg": PICTURE})
    for link, target in {
        "dog": "gone", "cat/2.jpg": "gone.jpg", "a": "b", "b": "a", "self": "self", "cat/3.jpg": "1.jpg/in",
    }.items():  # fmt: skip
        (folder / link).symlink_to(target)
    items, skipped = read(folder, follow)
    assert [item.name for item in items] == ["cat/1.jpg"]
    assert skipped.counts == {"link that leads nowhere": 6}


@pytest.mark.parametrize("follow", [False, True])
def test_circles_of_links_end_and_are_counted(tmp_path: Path, follow: bool) -> None:
    folder = foldered(tmp_path / "outer/in", {"cat/1.jpg": PICTURE, "dog/2.jpg": PICTURE})
    for link, target in {
        "cat/dog": "../dog",
        "dog/cat": "../cat",
        "cat/up": "..",
        "top": "../..",
        "alias": "dog",
    }.items():
        (folder / link).symlink_to(target)
    items, skipped = read(folder, follow)
    assert [item.name for item in items] == ["cat/1.jpg", "dog/2.jpg"]
    assert skipped.counts == {"folder that is read anyway": 5}


def test_circle_between_followed_folders_is_read_once(tmp_path: Path) -> None:
    """Without a limit, n folders that link to each other would be read 2 to the power of n times."""
    folder = foldered(tmp_path / "in", {"cat/1.jpg": PICTURE})
    for number in range(12):
        foldered(tmp_path / f"away/{number}", {"x.jpg": PICTURE})
        for link in ("left", "right"):
            (tmp_path / f"away/{number}" / link).symlink_to(f"../{(number + 1) % 12}")
    (folder / "linked").symlink_to("../away/0")
    items, skipped = read(folder, follow=True)
    assert len(items) == 13
    assert skipped.counts == {"folder that is read anyway": 13}


def test_link_to_a_folder_with_a_hidden_name_is_read(tmp_path: Path) -> None:
    """As stores of data keep folders: `.store/1` is hidden, and `cat` leads to it."""
    folder = foldered(tmp_path / "in", {".store/1/x.jpg": PICTURE, "dog/1.jpg": PICTURE})
    (folder / "cat").symlink_to(".store/1")
    (folder / ".store/1/again").symlink_to("../1")
    items, skipped = read(folder)
    assert [item.name for item in items] == ["dog/1.jpg", "cat/x.jpg"]
    assert skipped.counts == {"hidden file": 2, "folder that is read anyway": 1}


def test_what_is_neither_file_nor_folder_is_counted(tmp_path: Path) -> None:
    folder = foldered(tmp_path / "in", {"cat/1.jpg": PICTURE})
    os.mkfifo(folder / "cat/pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        before = Path.cwd()
        os.chdir(folder)  # a socket's path is short
        try:
            server.bind("socket.jpg")
        finally:
            os.chdir(before)
        items, skipped = read(folder)
    assert [item.name for item in items] == ["cat/1.jpg"]
    assert skipped.counts == {"neither a file nor a folder": 2}


def test_folder_that_is_a_link_itself_is_labelled_by_the_typed_name(tmp_path: Path) -> None:
    foldered(tmp_path / "volume-0017", {"1.jpg": PICTURE})
    (tmp_path / "cat").symlink_to("volume-0017")
    for typed in ("cat", "cat/", "cat/.", "cat/../cat"):
        assert [item.label for item in read(Path(f"{tmp_path}/{typed}"))[0]] == ["cat"]
