"""Folders and archives: which files are read, how they are labelled, which sources are refused."""

import errno
import gzip
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from conf.errors import UsageError
from streaming.errors import BadSource
from streaming.sources.labels.labelling import Labelling
from tests.support.archives import MAKERS, PICTURE, foldered, read_items, tarred, zipped


@pytest.mark.parametrize("kind", MAKERS)
def test_pictures_are_labelled_by_their_folders(kind: str, tmp_path: Path) -> None:
    members = {"train/cat/1.jpg": PICTURE, "train/Gelbe Rübe/2.JPEG": b"broken", "猫/3.png": b""}
    source = MAKERS[kind](tmp_path / f"source.{kind}", members | {"cat/README.md": b"text"})
    items, skipped = read_items(source)
    assert {(item.name, item.content, item.label) for item in items} == {
        ("train/cat/1.jpg", PICTURE, "cat"),
        ("train/Gelbe Rübe/2.JPEG", b"broken", "Gelbe Rübe"),
        ("猫/3.png", b"", "猫"),
    }
    assert skipped.counts == {"no picture by its ending": 1}
    assert str(skipped) == "1 × no picture by its ending ('cat/README.md')"


@pytest.mark.parametrize("kind", MAKERS)
def test_label_pattern_is_searched_in_the_file_name(kind: str, tmp_path: Path) -> None:
    members = {"n01440764_tench.JPEG": PICTURE, "below/n02085620_Chihuahua.JPEG": PICTURE, "x.jpg": PICTURE}
    source = MAKERS[kind](tmp_path / "source", members)
    items, _ = read_items(source, r"n\d+_(?P<label>.+)\.JPEG")
    assert sorted((item.label or "", item.name) for item in items) == [
        ("", "x.jpg"),
        ("Chihuahua", "below/n02085620_Chihuahua.JPEG"),
        ("tench", "n01440764_tench.JPEG"),
    ]


@pytest.mark.parametrize("kind", MAKERS)
def test_hidden_files_and_files_that_are_no_pictures_are_counted(kind: str, tmp_path: Path) -> None:
    members = {
        "cat/1.jpg": PICTURE,
        "cat/.DS_Store": b"x",
        "__MACOSX/cat/._1.jpg": b"x",
        "cat/LICENSE": b"no ending",
        "cat/notes.txt": b"x",
        "cat/IMG_0001": PICTURE,
        "@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg": PICTURE,
    }
    items, skipped = read_items(MAKERS[kind](tmp_path / "source", members))
    assert sorted(item.name for item in items) == ["cat/1.jpg", "cat/IMG_0001"]
    assert skipped.counts == {
        "hidden file": 3,
        "no picture by its content": 1,
        "no picture by its ending": 1,
    }


def test_picture_directly_in_the_source_folder_is_labelled_by_it(tmp_path: Path) -> None:
    (item,), _ = read_items(foldered(tmp_path / "cat", {"1.jpg": PICTURE}))
    assert item.label == "cat"


def test_links_out_of_a_folder_are_not_followed(tmp_path: Path) -> None:
    secret = foldered(tmp_path / "secret", {"s.jpg": b"secret"})
    folder = foldered(tmp_path / "in", {"cat/1.jpg": PICTURE})
    (folder / "cat" / "2.jpg").symlink_to(secret / "s.jpg")
    (folder / "dog").symlink_to(secret)
    (folder / "cat" / "loop").symlink_to(folder)
    items, skipped = read_items(folder)
    assert [item.name for item in items] == ["cat/1.jpg"]
    assert skipped.counts == {"link that leads out of the folder": 2, "folder that is read anyway": 1}


def test_file_name_that_is_not_utf8_is_made_printable(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    place = os.fsencode(folder) + b"/k\xe4fer"
    Path(os.fsdecode(place)).mkdir()
    Path(os.fsdecode(place + b"/1.jpg")).write_bytes(PICTURE)
    (item,), _ = read_items(folder)
    assert (item.name, item.label) == ("k\N{REPLACEMENT CHARACTER}fer/1.jpg", "k\N{REPLACEMENT CHARACTER}fer")


@pytest.mark.parametrize("kind", MAKERS)
def test_control_characters_of_names_and_labels_are_made_printable(kind: str, tmp_path: Path) -> None:
    members = {"\x1b]0;cat\x07\n\x9bA/1.jpg": PICTURE}
    (item,), _ = read_items(MAKERS[kind](tmp_path / "source", members))
    assert (item.name, item.label) == (
        "\ufffd]0;cat\ufffd\ufffd\ufffdA/1.jpg",
        "\ufffd]0;cat\ufffd\ufffd\ufffdA",
    )


def test_too_large_file_in_a_folder_is_not_read(tmp_path: Path) -> None:
    folder = foldered(tmp_path / "in", {"cat/1.jpg": PICTURE})
    with (folder / "cat" / "2.jpg").open("wb") as sparse:
        sparse.truncate(1 << 40)
    assert read_items(folder)[1].counts == {"too large to be read": 1}


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_only_the_entry_whose_stat_fails_is_skipped(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a folder with read but no search permission, or on a failing disk."""
    folder = foldered(tmp_path / "in", {"cat/1.jpg": PICTURE, "cat/2.jpg": PICTURE, "dog/3.jpg": PICTURE})
    original = Path.stat

    def stat(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if self.name == "2.jpg":
            raise OSError(number, os.strerror(number), str(self))
        return original(self, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", stat)
    items, skipped = read_items(folder)
    assert [item.name for item in items] == ["cat/1.jpg", "dog/3.jpg"]
    assert str(skipped) == f"1 × cannot be read: {os.strerror(number)} ('cat/2.jpg')"


@pytest.mark.skipif(os.geteuid() == 0, reason="root ignores permissions")
def test_folder_without_search_permission_is_skipped(tmp_path: Path) -> None:
    folder = foldered(tmp_path / "in", {"cat/1.jpg": PICTURE, "dog/2.jpg": PICTURE})
    (folder / "dog").chmod(0o444)
    items, skipped = read_items(folder)
    assert [item.name for item in items] == ["cat/1.jpg"]
    assert str(skipped) == "1 × cannot be read: Permission denied ('dog/2.jpg')"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "nowhere", "no such folder or file"),
        (lambda p: foldered(p / "in", {"x.txt": b""}), "no picture to send: 1 × no picture by its ending"),
        (lambda p: foldered(p, {"a.zip": b"no archive at all"}) / "a.zip", "neither a zip nor a tar"),
        (lambda p: foldered(p, {"a.zip": b""}) / "a.zip", "neither a zip nor a tar"),
        (lambda p: foldered(p, {"a": gzip.compress(b"text")}) / "a", "neither a zip nor a tar"),
        (lambda p: foldered(p, {"a": b"BZh9rubbish"}) / "a", "neither a zip nor a tar"),
        (
            lambda p: foldered(p, {"a": b"PK\5\6" + b"\xff" * 18}) / "a",
            "cannot be read as a zip|neither|directory",
        ),
        (
            lambda _: Path("~no-such-user/pictures"),
            "this user has no home folder; write ./~no-such-user/pi",
        ),
        (lambda p: zipped(p / "a.zip", {}), "it is empty"),
        (lambda p: tarred(p / "a.tar", {}), "it is empty"),
        (lambda p: zipped(p / "a.zip", {"x.txt": b"x"}), "no picture to send"),
        (lambda p: tarred(p / "a.tar", {"x.txt": b"x"}), "no picture to send"),
        (lambda p: zipped(p / "a.zip", {"x.jpg": PICTURE}), "no picture has a label, for example 'x.jpg'"),
    ],
)
def test_bad_source_is_an_error_of_one_line(
    make: Callable[[Path], Path], message: str, tmp_path: Path
) -> None:
    path = make(tmp_path)
    with pytest.raises(BadSource, match=message) as caught:
        read_items(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_empty_folder_is_a_bad_source(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match="it is empty"):
        read_items(tmp_path)


def test_pipe_is_a_bad_source(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadSource, match="neither a folder nor a file"):
        read_items(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("pattern", "message"), [("(", "not a valid regex"), (r"\d+", "no group named label")]
)
def test_bad_label_pattern_is_a_usage_error(pattern: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Labelling.from_pattern(pattern)


def test_pattern_that_never_matches_is_a_bad_source(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match="no picture has a label"):
        read_items(foldered(tmp_path / "in", {"cat/1.jpg": PICTURE}), r"n\d+_(?P<label>.+)")


def test_real_photographs_are_labelled_by_their_names(shared_data: Path) -> None:
    items, skipped = read_items(shared_data / "photos-mini.zip", r"n\d+_(?P<label>.+)\.JPEG")
    assert len(items) == 200
    assert not skipped.counts
    assert "goldfish" in {item.label for item in items}
    assert zlib.crc32(items[0].content)
