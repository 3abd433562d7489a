"""Pictures with missing data are rejected as truncated, wherever they were cut."""

import re
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from streaming.contract.verdict import Reason
from tests.support import pictures
from tests.support.verdicts import differs, reason, rejection, stored

PICTURE = pictures.noise(200, 150, seed=3)
# Bytes that are valid as row filter types and as samples, for all seven passes.
_FILTERED = np.random.default_rng(1).integers(0, 5, 6264, np.uint8).tobytes()
BROKEN = {Reason.TRUNCATED, Reason.UNDECODABLE}
KINDS = {
    "jpeg": pictures.encoded(PICTURE, quality=90),
    "jpeg-progressive": pictures.encoded(PICTURE, progressive=True),
    "jpeg-restarts": pictures.encoded(PICTURE, restart_marker_blocks=4),
    "jpeg-cmyk": pictures.encoded(PICTURE.convert("CMYK")),
    "jpeg-gray": pictures.encoded(PICTURE.convert("L")),
    "png": pictures.encoded(PICTURE, "PNG"),
    "png-interlaced": pictures.png_of((96, 64, 8, 0), _FILTERED, interlace=1),
    "webp-lossy": pictures.encoded(PICTURE, "WEBP", quality=90),
    "webp-lossless": pictures.encoded(PICTURE, "WEBP", lossless=True),
    "webp-extended": pictures.encoded(PICTURE, "WEBP", exif=Image.Exif().tobytes(), icc_profile=b"x" * 50),
}


@pytest.mark.parametrize("eighth", range(1, 8))
@pytest.mark.parametrize("kind", KINDS)
def test_cut_at_every_eighth_is_truncated(kind: str, eighth: int) -> None:
    whole = KINDS[kind]
    assert reason(whole) is None
    assert reason(whole[: len(whole) * eighth // 8]) is Reason.TRUNCATED


@pytest.mark.parametrize("kind", KINDS)
def test_without_its_last_bytes_it_is_truncated(kind: str) -> None:
    whole = KINDS[kind]
    assert {reason(whole[:-missing]) for missing in range(1, 17)} == {Reason.TRUNCATED}


@pytest.mark.parametrize("kind", KINDS)
def test_first_bytes_of_a_picture_are_never_accepted(kind: str) -> None:
    """Down to a single byte; a prefix that is too short to show its format is an unsupported format."""
    allowed = {Reason.TRUNCATED, Reason.UNSUPPORTED_FORMAT, Reason.UNDECODABLE}
    assert {reason(KINDS[kind][:length]) for length in range(1, 64)} <= allowed


@pytest.mark.parametrize("eighth", range(2, 8))
@pytest.mark.parametrize("kind", ["jpeg", "jpeg-cmyk", "jpeg-gray", "jpeg-restarts"])
def test_jpeg_cut_and_closed_again_is_truncated(kind: str, eighth: int) -> None:
    """With an end marker after the cut, a decoder fills the rest with grey and raises no error."""
    whole = KINDS[kind]
    assert reason(whole[: len(whole) * eighth // 8] + b"\xff\xd9") is Reason.TRUNCATED


def test_jpeg_cut_between_two_restarts_and_closed_again_is_truncated() -> None:
    """Each restart interval in the file is complete; only the following ones are missing."""
    whole = pictures.encoded(PICTURE, restart_marker_rows=1)
    cuts = [match.start() for match in re.finditer(rb"\xff[\xd0-\xd7]", whole)]
    assert len(cuts) == 9
    for cut in cuts:
        assert reason(whole[:cut] + b"\xff\xd9") is Reason.TRUNCATED


def test_large_jpeg_cut_and_closed_again_is_truncated_at_reduced_scale_too() -> None:
    whole = pictures.jpeg(1600, 1200)
    for eighth in range(2, 8):
        assert reason(whole[: len(whole) * eighth // 8] + b"\xff\xd9") is Reason.TRUNCATED


@pytest.mark.parametrize("eighth", range(1, 8))
def test_progressive_jpeg_cut_and_closed_again_is_complete_but_coarse_or_rejected(eighth: int) -> None:
    """Each scan refines the whole picture, so a file without the last scans is valid."""
    whole = KINDS["jpeg-progressive"]
    cut = whole[: len(whole) * eighth // 8] + b"\xff\xd9"
    if reason(cut) is None:
        shown, expected = (_blocks(stored(content)) for content in (cut, whole))
        assert np.abs(shown - expected).max() < 30, "a part of the picture is missing"
    else:
        assert reason(cut) in {Reason.TRUNCATED, Reason.UNDECODABLE}


def _blocks(rgb: Any) -> Any:
    """Mean luma of blocks of 10 x 10 pixels: what the first scan of a progressive JPEG holds."""
    luma = rgb @ (0.299, 0.587, 0.114)
    return luma.reshape(15, 10, 20, 10).mean(axis=(1, 3))


def test_progressive_jpeg_cut_in_its_first_scan_and_closed_is_truncated() -> None:
    whole = KINDS["jpeg-progressive"]
    start, end, *_ = _scans(whole)
    for share in (3, 4, 5, 6):
        assert reason(whole[: start + (end - start) * share // 8] + b"\xff\xd9") is Reason.TRUNCATED


@pytest.mark.parametrize("picture", [PICTURE, pictures.static(200, 150)], ids=["coarse", "noise"])
@pytest.mark.parametrize("options", [{}, {"quality": 60}, {"subsampling": 0}], ids=str)
def test_progressive_jpeg_cut_in_the_last_rows_of_its_first_scan_is_truncated(
    picture: Image.Image, options: dict[str, Any]
) -> None:
    """What follows was lost with it. The last rows are then smoothed from those above, not grey."""
    whole = pictures.encoded(picture, progressive=True, **options)
    start, end, *_ = _scans(whole)
    end = whole.rindex(b"\xff\xc4", start, end)  # tables of the next scan
    for cut in range(end - (end - start) // 6, end - 2):
        assert reason(whole[:cut] + b"\xff\xd9") is Reason.TRUNCATED, end - cut


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_cut_in_its_last_block_is_truncated(mode: str) -> None:
    """Its last corner is not grey: the missing coefficients are only small."""
    whole = pictures.encoded(pictures.static(192, 144).convert(mode), quality=95)
    for missing in (20, 40, 80):
        assert reason(whole[: -2 - missing] + b"\xff\xd9") is Reason.TRUNCATED, missing


def test_progressive_jpeg_without_its_last_refinements_is_accepted() -> None:
    whole = KINDS["jpeg-progressive"]
    for start in _scans(whole)[-3:]:
        tables = whole.rindex(b"\xff\xc4", 0, start)
        assert reason(whole[:tables] + b"\xff\xd9") is None


def _scans(content: bytes) -> list[int]:
    return [at for at in range(len(content)) if content[at : at + 2] == b"\xff\xda"]


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}], ids=str)
def test_picture_that_ends_in_grey_is_not_mistaken_for_a_cut_one(mode: str, options: dict[str, Any]) -> None:
    """The picture itself has the grey that a decoder fills in."""
    gray = np.asarray(PICTURE).copy()
    gray[60:] = 128
    content = pictures.encoded(Image.fromarray(gray).convert(mode), quality=100, subsampling=0, **options)
    expected = np.asarray(Image.fromarray(gray).convert(mode).convert("RGB"))
    assert differs(stored(content), expected) < 3
    inks = Image.frombytes("CMYK", (64, 64), bytes([127, 127, 127, 127]) * 64**2)
    assert reason(pictures.encoded(inks, **options)) is None


SEPARATE: dict[str, dict[str, Any]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 4},
}


@pytest.mark.parametrize("options", SEPARATE.values(), ids=SEPARATE)
def test_jpeg_with_missing_component_scans_is_truncated(options: dict[str, Any]) -> None:
    """Luma (Y) is complete, so the corner is not the grey that a decoder fills in; the chroma is missing."""
    head, y, cb, cr, end = pictures.separate(PICTURE, quality=90, **options)
    for scans in ([y], [y, cb[: len(cb) // 2]], [y, cb], [y, cb, cr[: len(cr) // 2]], [cb, cr], [y, cr]):
        assert reason(b"".join([head, *scans, end])) is Reason.TRUNCATED
        assert reason(b"".join([head[:2], b"\xff\x01", head[2:], *scans, end])) in BROKEN


@pytest.mark.parametrize("options", SEPARATE.values(), ids=SEPARATE)
def test_jpeg_with_one_scan_per_component_is_accepted(options: dict[str, Any]) -> None:
    head, *scans, end = pictures.separate(PICTURE, quality=95, **options)
    expected = stored(pictures.encoded(PICTURE, quality=95, subsampling=0))
    for tail in (end, b"noise before the end" + end, end + b"\xff\xda noise behind it"):
        assert differs(stored(b"".join([head, *scans, tail])), expected) < 3
    thumbnail = b"Exif\0\0" + pictures.tiff() + pictures.jpeg(160, 120)
    assert reason(pictures.with_segment(b"".join([head, *scans, end]), 0xE1, thumbnail)) is None


@pytest.mark.parametrize("eighth", range(1, 8))
@pytest.mark.parametrize("kind", ["png", "png-interlaced", "webp-lossy", "webp-lossless"])
def test_png_or_webp_cut_and_closed_again_is_never_accepted(kind: str, eighth: int) -> None:
    whole = KINDS[kind]
    cut = whole[: len(whole) * eighth // 8]
    if kind.startswith("png"):
        assert reason(cut + pictures.chunk(b"IEND", b"")) is Reason.TRUNCATED
        body = cut[41:]  # the rest of the only IDAT chunk, as a complete chunk
        assert reason(whole[:33] + pictures.chunk(b"IDAT", body) + whole[-12:]) is Reason.UNDECODABLE
    else:
        cut += bytes(len(cut) % 2)
        sizes = struct.pack("<I", len(cut) - 8), struct.pack("<I", len(cut) - 20)
        closed = cut[:4] + sizes[0] + cut[8:16] + sizes[1] + cut[20:]
        assert reason(closed) is Reason.UNDECODABLE


def test_end_marker_of_a_thumbnail_does_not_hide_that_a_jpeg_is_cut() -> None:
    """The thumbnail in the EXIF block has its own end marker."""
    whole = pictures.with_segment(
        KINDS["jpeg"], 0xE1, b"Exif\0\0" + pictures.tiff() + pictures.jpeg(160, 120)
    )
    assert reason(whole) is None
    for eighth in range(1, 8):
        assert reason(whole[: len(whole) * eighth // 8]) is Reason.TRUNCATED


@pytest.mark.parametrize(
    ("header", "row", "interlace"),
    [
        ((96, 64, 8, 2), 1 + 96 * 3, 0),
        ((96, 64, 8, 6), 1 + 96 * 4, 0),
        ((96, 64, 16, 0), 1 + 96 * 2, 0),
        ((96, 64, 8, 4), 1 + 96 * 2, 0),
        ((97, 64, 1, 0), 1 + 13, 0),
        ((96, 64, 8, 0), 6264 // 64, 1),  # 13 * 16 + 25 * 24 + 49 * 48 + 97 * 32 bytes in seven passes
    ],
    ids=["RGB", "RGBA", "16-bit", "LA", "1-bit", "interlaced"],
)
def test_png_with_fewer_rows_than_its_header_says_is_truncated(
    header: tuple[int, int, int, int], row: int, interlace: int
) -> None:
    """The zlib stream is complete and all CRCs are right; decoders may leave the rest black."""
    whole = 6264 if interlace else row * 64
    assert reason(pictures.png_of(header, bytes(whole), interlace)) is None
    for missing in (1, row, row * 32, whole):
        # Decoders raise an error for an incomplete row, but none for missing rows.
        short = pictures.png_of(header, bytes(whole - missing), interlace)
        assert reason(short) in {Reason.TRUNCATED, Reason.UNDECODABLE}


@pytest.mark.parametrize("height", [64, 65, 66, 67])
@pytest.mark.parametrize("width", [96, 97])
def test_interlaced_png_with_missing_passes_is_truncated(width: int, height: int) -> None:
    """With an odd height the last row is of an earlier pass: it exists while every second row is missing."""
    bright, black = np.full((height, width, 3), 200, np.uint8), np.zeros((height, width, 3), np.uint8)
    for passes in range(1, 7):
        assert reason(pictures.interlaced(bright, passes)) is Reason.TRUNCATED
        assert reason(pictures.interlaced(black, passes)) is Reason.TRUNCATED
    assert differs(stored(pictures.interlaced(bright)), bright) == 0
    assert differs(stored(pictures.interlaced(black)), black) == 0


def test_png_whose_header_adds_rows_is_truncated() -> None:
    whole = KINDS["png"]
    header = whole[16:20] + struct.pack(">I", 4000) + whole[24:29]
    taller = whole[:8] + pictures.chunk(b"IHDR", header) + whole[33:]
    problem = rejection(taller)
    assert problem is not None
    assert problem.reason is Reason.TRUNCATED
    assert problem.detail == "its data ends before the 2,404,000 bytes of 200x4000 pixels"
