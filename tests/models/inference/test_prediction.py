"""Which files `hub predict` takes for pictures, what it decodes, and why it cannot read one."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.errors import UnreadablePicture
from models.inference.picture_files import find_pictures
from models.inference.prediction import decode_picture
from tests.support import pictures
from tests.support.media import heif

SIDE = 32
PLAIN = pictures.halves()
FORMATS = {
    "jpg": pictures.encoded(Image.fromarray(PLAIN), quality=95),
    "mpo": pictures.encoded(
        Image.fromarray(PLAIN), "MPO", quality=95, save_all=True, append_images=[pictures.noise()]
    ),
    "png": pictures.encoded(Image.fromarray(PLAIN), "PNG"),
    "webp": pictures.encoded(Image.fromarray(PLAIN), "WEBP", quality=95),
    "heic": heif.still(PLAIN),
    "avif": pictures.encoded(Image.fromarray(PLAIN), "AVIF", quality=95),
    "gif": pictures.encoded(Image.fromarray(PLAIN), "GIF"),
    "tiff": pictures.encoded(Image.fromarray(PLAIN), "TIFF"),
}


def test_folders_give_pictures_by_ending_or_by_content(tmp_path: Path) -> None:
    names = ["a.jpg", "b.JPEG", "c.mpo", "d.heic", "e.HEIF", "f.hif", "g.avif", "h.webp", "i.png", "k.jfif"]
    for name in names:
        (tmp_path / name).write_bytes(b"whatever")
    by_content = {
        "IMG.JPG.1": "jpg",
        "leaf.jpg?w=300": "jpg",
        "picture": "heic",
        "photo.tmp": "avif",
        "0x1F": "webp",
    }
    for name, kind in by_content.items():
        (tmp_path / name).write_bytes(FORMATS[kind])
    for name in ("notes.txt", "labels.csv", "empty"):
        (tmp_path / name).write_bytes(b"label,picture\n" if name != "empty" else b"")
    found = find_pictures([str(tmp_path)])
    assert found == sorted(str(tmp_path / name) for name in (*names, *by_content))


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_the_same_picture(kind: str) -> None:
    decoded = decode_picture(lambda: FORMATS[kind], "picture", SIDE)
    plain = decode_picture(lambda: FORMATS["png"], "picture", SIDE)
    assert decoded.shape == (SIDE, SIDE, 3)
    assert np.abs(decoded.astype(int) - plain).mean() < 3


def test_an_mpo_has_exactly_the_pixels_of_its_first_picture() -> None:
    photo = pictures.noise(640, 480, seed=9)
    mpo = pictures.encoded(photo, "MPO", quality=90, save_all=True, append_images=[pictures.noise()])
    plain = pictures.encoded(photo, quality=90)
    for side in (32, 224):
        one, other = (decode_picture(partial(bytes, each), "picture", side) for each in (mpo, plain))
        assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"%PDF-1.7 and more", "it is PDF, no picture"),
        (b"words", "unknown format"),
        (b"", "unknown format"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "it is ISO media"),
        (FORMATS["heic"][:-40], "the file ends before the data of its items"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200), "its header cannot be read"),
        (pictures.lossless_jpeg(640, 520), "it is a lossless JPEG"),
        (pictures.png_claiming(20_000, 20_000), "20000x20000 is 400,000,000 pixels, at most 178,956,970"),
        (pictures.webp_claiming(2**24, 2**24), "pixels, at most 178,956,970"),
    ],
)
def test_why_a_picture_cannot_be_read(content: bytes, words: str) -> None:
    with pytest.raises(UnreadablePicture, match=words) as caught:
        decode_picture(lambda: content, "a.jpg", SIDE)
    assert "\n" not in str(caught.value)
