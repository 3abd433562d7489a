"""One rule for every reader of pictures: ingestion, prediction and training, and the SavedModel's graph."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lake.pictures.formats import Format
from lake.pictures.opening import open_picture
from lake.pictures.orientation import exif_of, orientation_of, tag_of, turn_upright
from models.pictures.inputs import decode_centre_crop
from tests.support import pictures
from tests.support.media import heif, orientations
from tests.support.media.orientations import Told, entry, is_upright, tiff
from tests.support.verdicts import accepted, pixels

KINDS = ("JPEG", "PNG", "WEBP")
CASES = orientations.told()
SIDE = 32
UPSIDE = Told(tiff("<", entry("<", 3)), 3)
SILENT = Told(tiff("<", (orientations.MAKER, orientations.ASCII, 6, b"Maker\0")), 1)

Reader = Callable[[bytes], Any]


@pytest.fixture(scope="session")
def graph() -> Reader:
    """The pixels that a SavedModel's graph makes of an encoded picture."""
    import tensorflow as tf

    from models.formats.serving_signature import prepare_picture

    traced = tf.function(
        lambda content: prepare_picture(content, SIDE),
        autograph=False,
        input_signature=[tf.TensorSpec((), tf.string)],
    )
    return lambda content: traced(tf.constant(content)).numpy()


def test_the_cases_cover_every_type_and_both_orders() -> None:
    assert len(CASES) > 70
    assert {case.orientation for case in CASES.values()} == set(range(1, 9))


@pytest.mark.parametrize("name", CASES)
def test_orientation_in_exif(name: str) -> None:
    told = CASES[name]
    assert tag_of(told.block.removeprefix(b"Exif\0\0")) == told.orientation
    for kind in KINDS:
        content = orientations.picture(kind, told)
        assert orientation_of(content, Format(kind.lower())) == told.orientation, kind


@pytest.mark.parametrize("name", CASES)
def test_a_saved_model_reads_the_orientation_as_the_hub_does(name: str) -> None:
    import tensorflow as tf

    from models.formats import orientation_operations

    found = orientation_operations.tag_of(tf.constant(CASES[name].block))
    assert int(found) == CASES[name].orientation


@pytest.mark.parametrize("xmp", [b"", orientations.XMP], ids=["exif", "exif-and-xmp"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", KINDS)
def test_every_reader_turns_as_exif_says(kind: str, orientation: int, xmp: bytes, graph: Reader) -> None:
    """XMP always says 6."""
    told = Told(tiff(">", entry(">", orientation, orientations.LONG)), orientation)
    content = orientations.picture(kind, told, xmp)
    assert_upright(content, graph)


@pytest.mark.parametrize("kind", KINDS)
def test_xmp_alone_turns_nothing(kind: str, graph: Reader) -> None:
    """As programs leave it that turn the pixels and remove the orientation from EXIF."""
    content = orientations.picture(kind, SILENT, orientations.XMP)
    assert b"tiff:Orientation" in content
    assert_upright(content, graph)


def assert_upright(content: bytes, graph: Reader) -> None:
    prepared = accepted(content)
    assert (prepared.width, prepared.height) == (96, 64)
    assert is_upright(pixels(prepared.jpeg)), "ingestion"
    assert is_upright(decode_centre_crop(content, SIDE)), "prediction and training"
    assert is_upright(graph(content)), "SavedModel"


def test_texts_of_a_png_turn_nothing(graph: Reader) -> None:
    """ImageMagick writes EXIF as a text; browsers read the chunk eXIf only."""
    block = b"Exif\0\0" + tiff("<", entry("<", 6))
    text = b"\nexif\n%8d\n%s\n" % (len(block), block.hex().encode())
    content = pictures.encoded(Image.fromarray(pictures.upright()), "PNG")
    told = pictures.chunk(b"tEXt", b"Raw profile type exif\0" + text)
    assert_upright(content[:33] + told + content[33:], graph)


def test_exif_of_a_webp_counts_only_if_its_header_announces_it(graph: Reader) -> None:
    content = orientations.picture("WEBP", UPSIDE)
    assert orientation_of(content, Format.WEBP) == 3
    upright = orientations.picture("WEBP", Told(tiff("<", entry("<", 6)), 1))  # stored upright, says 6
    hidden = upright[:20] + bytes((upright[20] & ~0x08,)) + upright[21:]
    assert_upright(hidden, graph)


def test_exif_is_found_wherever_it_is_before_the_pixels(graph: Reader) -> None:
    """After segments of 60 KB and padding in a JPEG, after the pixels in a PNG."""
    content = orientations.picture("JPEG", UPSIDE)
    content = content[:2] + b"\xff" + content[2:]
    for _ in range(5):
        content = pictures.with_segment(content, 0xE2, bytes(60_000))
    assert_upright(content, graph)
    stored = pictures.as_stored(pictures.upright(), 3)
    png = pictures.encoded(Image.fromarray(stored), "PNG")
    assert_upright(png[:-12] + pictures.chunk(b"eXIf", UPSIDE.block) + png[-12:], graph)


def test_words_like_exif_elsewhere_turn_nothing(graph: Reader) -> None:
    """A search for the prefix would find them in a comment, in another segment, or behind the first block."""
    upright = pictures.encoded(Image.fromarray(pictures.upright()), quality=95)
    decoy = b"Exif\0\0" + tiff("<", entry("<", 6))
    for content in (
        pictures.with_segment(upright, 0xFE, decoy),
        pictures.with_segment(upright, 0xE2, decoy),
        pictures.with_segment(pictures.with_segment(upright, 0xE1, decoy), 0xE1, b"Exif\0\0" + SILENT.block),
    ):
        assert_upright(content, graph)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", [Format.HEIC, Format.AVIF])
def test_boxes_turn_a_heic_and_an_avif_and_exif_does_not(kind: Format, orientation: int) -> None:
    """Phones write the orientation in the boxes and again in EXIF; some programs leave an old one there."""
    stored = pictures.as_stored(pictures.upright(), orientation)
    coded = heif.hevc_item(stored) if kind is Format.HEIC else heif.avif_item(Image.fromarray(stored))
    for said in (orientation, 1, 6):
        exif = heif.exif_item(tiff(">", entry(">", said)))
        items = [coded.having(*heif.turned(orientation)), exif, heif.xmp_item(orientations.XMP)]
        content = heif.packed(items, heif.HEIC if kind is Format.HEIC else heif.AVIF)
        prepared = accepted(content)
        assert (prepared.format, prepared.width, prepared.height) == (kind, 96, 64)
        assert is_upright(pixels(prepared.jpeg))
        assert is_upright(decode_centre_crop(content, SIDE))
        assert tag_of(exif_of(content, kind)) == said, "the test shows nothing"


def test_pillow_reads_the_boxes_of_an_avif_alike() -> None:
    for orientation in range(1, 9):
        item = heif.avif_item(pictures.noise()).having(*heif.turned(orientation))
        content = heif.packed([item], heif.AVIF)
        image = open_picture(content, Format.AVIF, 10**6)
        assert image.getexif().get(orientations.ORIENTATION, 1) == orientation
        assert orientation_of(content, Format.AVIF) == orientation


def test_turned_pixels_on_paper() -> None:
    rgb = np.arange(6, dtype=np.uint8).reshape(2, 3)[..., None].repeat(3, 2)
    expected = {
        1: [[0, 1, 2], [3, 4, 5]], 2: [[2, 1, 0], [5, 4, 3]], 3: [[5, 4, 3], [2, 1, 0]],
        4: [[3, 4, 5], [0, 1, 2]], 5: [[0, 3], [1, 4], [2, 5]], 6: [[3, 0], [4, 1], [5, 2]],
        7: [[5, 2], [4, 1], [3, 0]], 8: [[2, 5], [1, 4], [0, 3]],
    }  # fmt: skip
    for value, rows in expected.items():
        assert turn_upright(rgb, value)[..., 0].tolist() == rows, value
