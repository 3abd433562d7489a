"""Files whose names do not say that they are pictures: the content decides, in every kind of source."""

import struct
from pathlib import Path

import pytest
from PIL import Image

from streaming.sources.picture_files import HEAD_BYTES, content_decides, is_picture, skip_reason
from streaming.upload.phones import Fleet
from tests.support import pictures
from tests.support.archives import MAKERS, PICTURE, read_items, tarred

ODD_NAMES = [
    "leaf.jpg?w=300&h=200", "leaf.jpg:large", "leaf.jpg.1", "leaf.JPG_large", "Screenshot at 3.04.05 PM",
    "IMG_1.MPO", "IMG_0001", "photo.jpg~", "photo.jpeg.bak", "photo (1).jpg ", "photo.JPG.", "a.b.c",
    "photo.jpg.html", "photo.JPEG.txt", "leaf.jpg?format=.json", "image.php",
]  # fmt: skip


@pytest.mark.parametrize("kind", MAKERS)
def test_pictures_with_odd_names_are_read(kind: str, tmp_path: Path) -> None:
    members = {f"rust/{name}": PICTURE for name in ODD_NAMES} | {
        "rust/1.jpg": b"broken",
        "rust/x.jpg?y": b"<html>",
    }
    items, skipped = read_items(MAKERS[kind](tmp_path / "source", members))
    assert {(item.name, item.label) for item in items} == {
        (name, "rust") for name in members if name != "rust/x.jpg?y"
    }
    assert {item.content for item in items} == {PICTURE, b"broken"}
    assert skipped.names == {"no picture by its content": ["rust/x.jpg?y"]}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_picture_larger_than_its_beginning_is_read_whole(kind: str, tmp_path: Path) -> None:
    large = pictures.jpeg(300, 200)
    assert len(large) > 4 * HEAD_BYTES
    (item,), _ = read_items(MAKERS[kind](tmp_path / "source", {"cat/IMG_1": large}))
    assert item.content == large


def _bitmap() -> bytes:
    return b"BM" + struct.pack("<IHHI", 70, 0, 0, 54) + struct.pack("<I", 40) + bytes(60)


@pytest.mark.parametrize(
    ("name", "beginning", "sent"),
    [
        ("x.webp_1", b"RIFF\0\0\0\0WEBPVP8 ", True),
        ("x.1", b"RIFF\0\0\0\0WAVEfmt ", False),
        ("x.1", b"RIFF\0\0\0\0AVI LIST", False),
        ("x.1", b"\x89PNG\r\n\x1a\n", True),
        ("x.1", b"GIF89a", True),
        ("x.1", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", True),
        ("x.1", b"\0\0\0\x18ftypavif\0\0\0\0avifmif1", True),
        ("x.1", b"\0\0\0\x18ftypisom\0\0\0\0isommp42", False),
        ("x.1", b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", False),
        ("x.1", _bitmap(), True),
        ("x.1", b"BMI of all patients, in a table", False),
        ("scan.tif?page=1", b"II*\0", True),
        ("scan", b"MM\0*", True),
        ("IMG_1.CR2", b"II*\0", False),  # raw files are read by no one here
        ("IMG_1.dng", b"MM\0*", False),
        ("x.1", b"", False),
    ],
)
def test_first_bytes_decide(name: str, beginning: bytes, sent: bool) -> None:
    assert content_decides(name)
    assert is_picture(name, beginning) is sent


@pytest.mark.parametrize(
    "name",
    [
        "a.txt",
        "labels.CSV",
        "x.mp4",
        "set.tar.gz",
        "model.h5",
        "IMG_1.AAE",
        "Thumbs.db",
        "my.jpgs.txt",
        "a.jpg/b.txt",
    ],
)
def test_well_known_other_files_are_not_opened(name: str) -> None:
    assert skip_reason(f"cat/{name}") == "no picture by its ending"


@pytest.mark.parametrize(
    "name",
    [
        ".hidden/1.jpg", "cat/._1.jpg", "__MACOSX/cat/1.jpg", "cat/@eaDir/1.jpg/SYNOPHOTO_THUMB_XL.jpg",
        "#recycle/cat/1.jpg", "cat/.@__thumb/s1001.jpg", "@Recycle/1.jpg", "$RECYCLE.BIN/S-1/$R1.jpg",
        "System Volume Information/1.jpg", "lost+found/1.jpg",
    ],
)  # fmt: skip
def test_files_of_systems_are_hidden(name: str) -> None:
    assert skip_reason(name) == "hidden file"


def test_media_type_is_that_of_the_content(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "1.png")
    members = {"cat/a.jpg?x": PICTURE, "cat/b.jpg": (tmp_path / "1.png").read_bytes(), "cat/c.jpg": b"broken"}
    items, _ = read_items(MAKERS["folder"](tmp_path / "in", members))
    sent = [Fleet(1, "b").upload(0, item).content_type for item in sorted(items, key=lambda item: item.name)]
    assert sent == ["image/jpeg", "image/png", "image/jpeg"]


def test_what_follows_the_end_of_a_tar_is_counted(tmp_path: Path) -> None:
    first, second = (tarred(tmp_path / f"{n}.tar", {f"cat/{n}.jpg": PICTURE}).read_bytes() for n in range(2))
    (tmp_path / "both.tar").write_bytes(first + second)
    items, skipped = read_items(tmp_path / "both.tar")
    assert [item.name for item in items] == ["cat/0.jpg"]
    assert skipped.names == {"what follows the end of the archive": ["after cat/0.jpg"]}
