"""Small files that need much memory or time to decode are rejected before they are decoded."""

import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from streaming.contract.verdict import Reason
from tests.support import pictures
from tests.support.verdicts import differs, reason, rejection, rules, stored

MIB = 2**20


@pytest.fixture(scope="module")
def inflating() -> bytes:
    """300 MiB that zlib compresses to 300 KB."""
    return zlib.compress(bytes(300 * MIB), 9)


def vast_jpeg(width: int, height: int) -> bytes:
    """A JPEG whose frame header claims another size."""
    whole = pictures.jpeg()
    frame = whole.index(b"\xff\xc0")
    return whole[: frame + 5] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + whole[frame + 9 :]


@pytest.mark.parametrize(
    "content",
    [
        pictures.png_claiming(50_000, 50_000),
        pictures.png_claiming(2**32 - 1, 2**32 - 1),
        vast_jpeg(65_500, 65_500),
        pictures.webp_claiming(16_383, 16_383),
        pictures.webp_claiming(2**24, 2**24),
    ],
    ids=["png", "png-largest", "jpeg", "webp", "webp-largest"],
)
def test_picture_of_billions_of_pixels_in_a_few_bytes_is_a_pixel_bomb(content: bytes) -> None:
    assert len(content) < 8192
    tracemalloc.start()
    problem = rejection(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert problem is not None
    assert problem.reason is Reason.PIXEL_BOMB
    assert "at most 64,000,000" in problem.detail
    assert peak < 10 * MIB


@pytest.mark.parametrize("kind", [b"VP8 ", b"VP8L"])
def test_simple_webp_of_too_many_pixels_is_a_pixel_bomb(kind: bytes) -> None:
    if kind == b"VP8L":
        body = b"\x2f" + (16_383 | 16_383 << 14).to_bytes(4, "little") + bytes(50)
    else:
        body = b"\x50\x01\x00\x9d\x01\x2a" + (16_383).to_bytes(2, "little") * 2 + bytes(50)
    chunk = b"WEBP" + kind + len(body).to_bytes(4, "little") + body
    assert reason(b"RIFF" + len(chunk).to_bytes(4, "little") + chunk) is Reason.PIXEL_BOMB


def test_webp_shorter_than_other_headers_is_a_pixel_bomb() -> None:
    assert len(pictures.flat_webp(16_384, 16_384)) < 30
    assert reason(pictures.flat_webp(16_384, 16_384)) is Reason.PIXEL_BOMB
    assert reason(pictures.flat_webp(16_384, 16_384)[:25]) is Reason.PIXEL_BOMB
    assert reason(pictures.flat_webp(16_384, 16_384)[:24]) is Reason.TRUNCATED
    assert differs(stored(pictures.flat_webp(64, 96)), np.zeros((96, 64, 3))) == 0


def test_one_pixel_more_than_the_limit_is_too_many() -> None:
    assert rules().ingest.max_pixels == 8000 * 8000
    assert reason(pictures.png_claiming(8000, 8001)) is Reason.PIXEL_BOMB
    assert reason(pictures.png_claiming(8000, 8000)) is Reason.UNDECODABLE  # it has no pixel data


def test_line_of_millions_of_pixels_is_too_small() -> None:
    assert reason(pictures.png_claiming(60_000_000, 1)) is Reason.TOO_SMALL


@pytest.mark.parametrize("size", [(0, 0), (0, 50), (50, 0)])
def test_picture_without_pixels_is_undecodable(size: tuple[int, int]) -> None:
    assert reason(pictures.png_claiming(*size)) is Reason.UNDECODABLE


@pytest.mark.parametrize(
    ("name", "before"), [(b"iCCP", b"icc\0\0"), (b"zTXt", b"k\0\0"), (b"iTXt", b"k\0\1\0\0\0")]
)
def test_text_or_profile_that_inflates_beyond_bounds_is_undecodable(
    name: bytes, before: bytes, inflating: bytes
) -> None:
    """They are counted up to 64 MiB, and kept by nobody."""
    problem = rejection(pictures.png_with((name, before + inflating)))
    assert problem is not None
    assert problem.reason is Reason.UNDECODABLE
    assert "inflate to more than 67,108,864 bytes" in problem.detail


def test_many_texts_that_inflate_are_undecodable() -> None:
    text = zlib.compress(bytes(900_000), 9)
    bomb = pictures.png_with(*((b"zTXt", b"k%d\0\0" % number + text) for number in range(200)))
    assert len(bomb) < 300_000
    assert reason(bomb) is Reason.UNDECODABLE


def test_no_more_pixels_are_inflated_than_the_header_states(inflating: bytes) -> None:
    whole = pictures.png_of((64, 64, 8, 2), b"")
    content = whole[:33] + pictures.chunk(b"IDAT", inflating) + pictures.chunk(b"IEND", b"")
    assert differs(stored(content), np.zeros((64, 64, 3))) == 0


@pytest.mark.parametrize(
    ("scans", "verdict"), [(100, None), (101, Reason.SCAN_BOMB), (5000, Reason.SCAN_BOMB)]
)
def test_scans_of_a_jpeg_are_counted(scans: int, verdict: Reason | None) -> None:
    assert reason(pictures.with_scans(pictures.jpeg(progressive=True), scans)) is verdict


def test_scans_are_counted_after_a_thumbnail_and_padding() -> None:
    bomb = pictures.with_scans(pictures.jpeg(progressive=True), 400).replace(b"\xff\xda", b"\xff\xff\xff\xda")
    thumbnail = b"Exif\0\0" + pictures.tiff() + pictures.jpeg()
    assert reason(pictures.with_segment(bomb, 0xE1, thumbnail)) is Reason.SCAN_BOMB


@pytest.mark.parametrize("marker", [0x01, 0x02, 0xBF])
def test_scans_are_counted_after_markers_without_a_length(marker: int) -> None:
    """A parser that expects a length takes the next marker for it, and skips the 65,498 bytes after it."""
    head, *scans = pictures.with_scans(pictures.jpeg(progressive=True), 5000).split(b"\xff\xda")
    hiding = bytes((0xFF, marker, 0xFF, 0xDA))
    assert reason(head + b"\xff\xda" + hiding.join(scans)) is Reason.SCAN_BOMB


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize(("count", "verdict"), [(100, None), (101, Reason.SCAN_BOMB)])
def test_frames_of_an_animation_are_counted(kind: str, count: int, verdict: Reason | None) -> None:
    frames = [pictures.noise(40, 40, seed) for seed in range(count)]
    content = pictures.encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert reason(content) is verdict


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animation_gives_its_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = pictures.encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert differs(stored(content), np.asarray(frames[0])) < 2


def test_animation_that_hides_its_size_in_frames_costs_no_more_than_its_canvas() -> None:
    """The parser rejects a frame that is larger than the canvas."""
    frames = [pictures.noise(40, 40, seed) for seed in range(3)]
    whole = pictures.encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    frame = whole.index(b"ANMF") + 8
    vast = whole[: frame + 6] + (2**24 - 1).to_bytes(3, "little") * 2 + whole[frame + 12 :]
    assert reason(vast) is Reason.UNDECODABLE


def test_file_above_max_bytes_is_rejected() -> None:
    most = rules().ingest.max_bytes
    assert reason(pictures.jpeg().ljust(most, b"\0")) is None
    assert reason(pictures.jpeg().ljust(most + 1, b"\0")) is Reason.TOO_LARGE
