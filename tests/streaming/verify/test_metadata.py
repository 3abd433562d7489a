"""Metadata: orientation and capture time are read but not trusted; no metadata is stored."""

import io
import struct
import zlib
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image

from lake.errors import UndecodablePicture
from lake.pictures import jpeg_codec
from models.pictures.inputs import decode_centre_crop
from streaming.contract.verdict import Rejected
from streaming.verify.prepared import Prepared
from tests.support import pictures
from tests.support.verdicts import accepted, differs, pixels, stored

KINDS = ("JPEG", "PNG", "WEBP")
ORIENTATION, DATE, EXIF_IFD, GPS_IFD, THUMBNAIL = 0x0112, 0x9003, 0x8769, 0x8825, 0x0201
SHORT, LONG = 3, 4


def with_exif(block: bytes, kind: str = "JPEG") -> bytes:
    image = Image.fromarray(pictures.halves())
    return pictures.encoded(image, kind, quality=95, exif=b"Exif\0\0" + block)


def orientation_entry(value: int) -> tuple[int, int, int, bytes]:
    return ORIENTATION, SHORT, 1, struct.pack("<HH", value, 0)


def dated(text: str) -> bytes:
    exif = Image.Exif()
    exif.get_ifd(EXIF_IFD)[DATE] = text
    return pictures.jpeg(exif=exif)


def assert_upright(prepared: Prepared) -> None:
    """The pixels are not rotated: the blue half is the upper one."""
    assert (prepared.width, prepared.height) == (96, 64)
    assert differs(pixels(prepared.jpeg), pictures.halves()) < 3


def assert_bare(prepared: Prepared) -> None:
    """The stored JPEGs have no application segment except JFIF's and no comment."""
    for content in (prepared.jpeg, prepared.thumbnail):
        with Image.open(io.BytesIO(content)) as image:
            assert not image.getexif()
            assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        assert [
            marker for marker, _ in jpeg_codec.markers(content) if 0xE0 <= marker <= 0xEF or marker == 0xFE
        ] == [0xE0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", KINDS)
def test_every_orientation_is_turned_upright(kind: str, orientation: int) -> None:
    prepared = accepted(pictures.oriented(orientation, kind))
    assert (prepared.width, prepared.height) == (96, 64)
    upright = pixels(prepared.jpeg)
    assert upright.shape == (64, 96, 3)
    expected = np.full((64, 96, 3), (30, 90, 160))
    expected[:32, :48] = (220, 20, 20)
    assert differs(upright, expected) < 4
    assert_bare(prepared)


@pytest.mark.parametrize("before", [b"", b"\xff", b"\xff\xd0"], ids=["nothing", "padding", "restart"])
def test_orientation_is_applied_wherever_it_is_before_the_pixels(before: bytes) -> None:
    """After five segments of 60 KB, like those of colour profiles and burst pictures."""
    content = pictures.oriented(6)
    content = content[:2] + before + content[2:]
    for _ in range(5):
        content = pictures.with_segment(content, 0xE2, bytes(60_000))
    prepared = accepted(content)
    assert (prepared.width, prepared.height) == (96, 64)
    assert differs(pixels(prepared.jpeg), stored(pictures.oriented(1))) < 4


def test_orientation_after_the_pixels_of_a_png_is_applied() -> None:
    """The eXIf chunk may be anywhere before IEND (PNG, third edition, section 5.6)."""
    whole = pictures.encoded(Image.fromarray(pictures.halves()), "PNG")
    late = whole[:-12] + pictures.chunk(b"eXIf", pictures.tiff(orientation_entry(3))) + whole[-12:]
    assert differs(stored(late), pictures.halves()[::-1, ::-1]) < 3


@pytest.mark.parametrize("value", [0, 9, 255, 65535])
@pytest.mark.parametrize("kind", KINDS)
def test_invalid_orientation_is_ignored(kind: str, value: int) -> None:
    assert_upright(accepted(with_exif(pictures.tiff(orientation_entry(value)), kind)))


LIES = {
    "no TIFF": b"rubbish",
    "empty": b"",
    "directory beyond the end": b"II*\0\xff\xff\xff\xff",
    "more entries than bytes": b"II*\0\x08\0\0\0\xff\xff" + bytes(50),
    "value beyond the end": pictures.tiff((ORIENTATION, 2, 2**31 - 1, struct.pack("<I", 2**31))),
    "unknown type": pictures.tiff((ORIENTATION, 250, 1, bytes(4))),
    "directory that contains itself": pictures.tiff((EXIF_IFD, LONG, 1, struct.pack("<I", 8))),
    "place that contains itself": pictures.tiff((GPS_IFD, LONG, 1, struct.pack("<I", 8))),
    "directory that follows itself": pictures.tiff((0x0100, SHORT, 1, bytes(4)), following=8),
    "thumbnail beyond the end": pictures.tiff(
        (THUMBNAIL, LONG, 1, b"\xff" * 4), (THUMBNAIL + 1, LONG, 1, b"\xff" * 4)
    ),
    "60 KB of zeros": pictures.tiff() + bytes(60_000),
    "60 KB of noise": np.random.default_rng(0).bytes(60_000),
    "60 KB of entries": pictures.tiff(*[(tag, SHORT, 1, bytes(4)) for tag in range(0x1000, 0x1000 + 5000)]),
    "text for an orientation": pictures.tiff((ORIENTATION, 2, 4, b"six\0")),
    "two values for an orientation": pictures.tiff((ORIENTATION, SHORT, 2, struct.pack("<HH", 1, 6))),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("kind", KINDS)
def test_invalid_exif_neither_rejects_nor_rotates_a_picture(kind: str, lie: str) -> None:
    prepared = accepted(with_exif(LIES[lie], kind))
    assert_upright(prepared)
    assert prepared.taken_at is None
    assert_bare(prepared)


def test_orientation_before_a_directory_that_follows_itself_is_applied() -> None:
    prepared = accepted(with_exif(pictures.tiff(orientation_entry(6), following=8)))
    assert (prepared.width, prepared.height) == (64, 96)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025:06:01 12:30:00", datetime(2025, 6, 1, 12, 30, tzinfo=UTC)),
        ("2025:06:01 12:30:00\0\0", datetime(2025, 6, 1, 12, 30, tzinfo=UTC)),
        ("1970:01:01 00:00:00", datetime(1970, 1, 1, tzinfo=UTC)),
        ("0000:00:00 00:00:00", None),
        ("0001:01:01 00:00:00", None),  # Python could not read it back from the ledger
        ("1969:12:31 23:59:59", None),
        ("9999:12:31 23:59:59", None),
        ("2025:02:30 12:00:00", None),
        ("2025-06-01T12:30:00", None),
        ("    :  :     :  :  ", None),
        ("last tuesday", None),
        ("2" * 50_000, None),
    ],
)
def test_invalid_capture_time_is_none(text: str, expected: datetime | None) -> None:
    assert accepted(dated(text)).taken_at == expected


def test_place_thumbnail_and_maker_are_not_kept() -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker of phones"
    exif.get_ifd(EXIF_IFD)[0x927C] = b"secret note" * 3000
    exif.get_ifd(GPS_IFD).update({1: "N", 2: (52.0, 31.0, 0.0), 3: "E", 4: (13.0, 24.0, 0.0)})
    content = pictures.jpeg(exif=exif, comment=b"at home", xmp=b"<x:xmpmeta>ann@example.org</x:xmpmeta>")
    assert b"secret note" in content and b"ann@example.org" in content and b"at home" in content
    prepared = accepted(content)
    assert_bare(prepared)
    for kept in (prepared.jpeg, prepared.thumbnail):
        assert not any(word in kept for word in (b"secret", b"Maker", b"example", b"at home"))


@pytest.mark.parametrize("kind", KINDS)
def test_profile_text_and_xmp_are_not_kept(kind: str) -> None:
    image = pictures.noise()
    options = {"icc_profile": b"profile" * 30, "xmp": b"<x:xmpmeta>ann@example.org</x:xmpmeta>"}
    content = pictures.encoded(image, kind, **options)
    assert b"ann@example.org" in content or kind == "PNG"
    assert_bare(accepted(content))


def text_chunk(name: bytes, text: bytes) -> tuple[bytes, bytes]:
    packed = zlib.compress(text)
    before = {b"iCCP": b"icc\0\0", b"zTXt": b"parameters\0\0", b"iTXt": b"workflow\0\1\0de\0Ablauf\0"}
    return (name, before[name] + packed) if name in before else (name, b"comment\0" + text)


@pytest.mark.parametrize("name", [b"iCCP", b"zTXt", b"iTXt", b"tEXt"], ids=bytes.decode)
@pytest.mark.parametrize("size", [2**20 - 1, 2**20 + 1, 6 * 2**20])
def test_png_with_a_large_text_or_profile_is_the_plain_picture(name: bytes, size: int) -> None:
    """Generators of pictures write their workflow as text, printers have profiles of a megabyte and more."""
    words = np.random.default_rng(0).integers(97, 101, size, np.uint8).tobytes()
    content, plain = pictures.png_with(text_chunk(name, words)), pictures.png_with()
    prepared = accepted(content)
    assert (prepared.jpeg, prepared.thumbnail) == (accepted(plain).jpeg, accepted(plain).thumbnail)
    assert np.array_equal(decode_centre_crop(content, 32), decode_centre_crop(plain, 32))


def test_many_texts_of_a_png_count_together() -> None:
    """Up to 64 MiB; nobody keeps them."""
    mebibyte = bytes(2**20)
    within = [text_chunk(b"zTXt", mebibyte)] * 40 + [text_chunk(b"iTXt", mebibyte)] * 24
    assert accepted(pictures.png_with(*within)).jpeg == accepted(pictures.png_with()).jpeg
    beyond = pictures.png_with(*within, text_chunk(b"iCCP", b"x"))
    with pytest.raises(Rejected, match="inflate to more than 67,108,864 bytes"):
        accepted(beyond)
    with pytest.raises(UndecodablePicture, match="inflate to more than 67,108,864 bytes"):
        decode_centre_crop(beyond, 32)


@pytest.mark.parametrize(
    "chunk",
    [
        (b"zTXt", b"k\0\0no zlib"), (b"zTXt", b""), (b"zTXt", b"no zero"), (b"tEXt", b"\xff\xfe"),
        (b"iTXt", b"k\0"), (b"iTXt", b"k\0\1\0"), (b"iTXt", b"k\0\1\0de"), (b"iCCP", b"icc\0"),
        (b"iCCP", b"icc\0\0" + zlib.compress(bytes(99))[:-4]),
    ],
)  # fmt: skip
def test_damaged_text_or_profile_does_not_reject_a_png(chunk: tuple[bytes, bytes]) -> None:
    assert accepted(pictures.png_with(chunk)).jpeg == accepted(pictures.png_with()).jpeg


def test_exif_thumbnail_is_not_used_as_the_picture() -> None:
    """The thumbnail in the EXIF block shows another scene."""
    thumbnail = pictures.encoded(Image.new("RGB", (160, 120), "lime"))
    inside = b"Exif\0\0" + pictures.tiff() + thumbnail
    content = pictures.with_segment(
        pictures.encoded(Image.fromarray(pictures.halves()), quality=95), 0xE1, inside
    )
    assert differs(stored(content), pictures.halves()) < 3
