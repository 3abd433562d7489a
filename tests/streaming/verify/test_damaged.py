"""Pictures with wrong bytes inside, before and after them."""

import io
import zipfile
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from streaming.contract.verdict import Reason
from tests.support import pictures
from tests.support.verdicts import accepted, differs, pixels, reason, rejection, stored

PICTURE = pictures.noise(80, 60, seed=3)
KINDS = {
    "jpeg": pictures.encoded(PICTURE, quality=90),
    "jpeg-progressive": pictures.encoded(PICTURE, progressive=True),
    "png": pictures.encoded(PICTURE, "PNG"),
    "webp-lossy": pictures.encoded(PICTURE, "WEBP", quality=90),
    "webp-lossless": pictures.encoded(PICTURE, "WEBP", lossless=True),
}
BROKEN = {Reason.UNDECODABLE, Reason.TRUNCATED, Reason.UNSUPPORTED_FORMAT}


def flipped(content: bytes, position: int, bit: int) -> bytes:
    changed = bytearray(content)
    changed[position] ^= 1 << bit
    return bytes(changed)


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bit_in_any_region_gives_a_verdict_and_never_half_a_picture(kind: str) -> None:
    """Damaged pixels of a JPEG or WebP cannot be detected: these formats have no checksum."""
    content = KINDS[kind]
    bounds = [len(content) * part // 32 for part in range(33)]
    for start, stop in pairwise(bounds):
        for bit in range(8):
            damaged = flipped(content, (start + stop) // 2 + bit % (stop - start) // 3, bit)
            why = reason(damaged)
            if why is None:
                prepared = accepted(damaged)
                assert pixels(prepared.jpeg).shape == (prepared.height, prepared.width, 3)
            else:
                assert why in BROKEN | {Reason.TOO_SMALL, Reason.PIXEL_BOMB, Reason.SCAN_BOMB}


def test_no_flipped_bit_in_a_png_is_accepted() -> None:
    """A checksum covers every byte of a PNG."""
    content = KINDS["png"]
    found = Counter(reason(flipped(content, at, at % 8)) for at in range(len(content)))
    assert set(found) <= BROKEN
    assert found[Reason.UNDECODABLE] > 0.9 * len(content)


def test_wrong_checksum_is_named() -> None:
    content = KINDS["png"]
    problem = rejection(flipped(content, content.index(b"IDAT") + 40, 3))
    assert problem is not None
    assert problem.detail == "the checksum of its chunk 'IDAT' is wrong"


@pytest.mark.parametrize("kind", KINDS)
def test_magic_of_another_format_before_a_picture_is_rejected(kind: str) -> None:
    """Only the parser of the format that the first bytes show is used."""
    content = KINDS[kind]
    magics = (
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\0\0\1\0WEBPVP8 ",
        b"GIF89a",
        b"BM",
        b"%PDF-1.7",
        b"PK\3\4",
    )
    for magic in magics:
        if not content.startswith(magic[:3]):
            assert reason(magic + content) in BROKEN
            assert reason(magic + content[len(magic) :]) in BROKEN


def test_detail_of_a_broken_header_says_so_in_words() -> None:
    problem = rejection(b"\xff\xd8\xff\xe0" + bytes(100))
    assert problem is not None
    assert "0x" not in problem.detail


def archive() -> bytes:
    """A zip with a script in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("run.sh", "rm -rf /")
    return buffer.getvalue()


TAILS = {
    "zip": archive(),
    "html": b"<html><script>alert('hub')</script></html>",
    "picture": pictures.encoded(pictures.noise(200, 200, seed=9)),
    "zeros": bytes(100_000),
    "film": b"\x00\x00\x00\x18ftypmp42" + np.random.default_rng(0).bytes(50_000),
}


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("kind", KINDS)
def test_bytes_after_a_picture_are_not_stored(kind: str, tail: str) -> None:
    """A polyglot file is accepted: its pixels are re-encoded and nothing else is stored."""
    plain = accepted(KINDS[kind])
    found = accepted(KINDS[kind] + TAILS[tail])
    assert (found.jpeg, found.thumbnail) == (plain.jpeg, plain.thumbnail)
    assert (found.width, found.height, found.phash) == (80, 60, plain.phash)


@pytest.mark.parametrize(
    "payload", [archive(), b"<html><script>alert('hub')</script></html>" * 50], ids=["zip", "html"]
)
def test_comments_inside_a_picture_are_not_stored(payload: bytes) -> None:
    polyglots = [
        pictures.with_segment(KINDS["jpeg"], marker, payload) for marker in (0xFE, 0xE1, 0xE2, 0xED, 0xEF)
    ]
    polyglots += [pictures.png_with((name, b"Comment\0" + payload)) for name in (b"tEXt", b"zzZz", b"eXIf")]
    polyglots += [pictures.encoded(PICTURE, "WEBP", xmp=payload)]
    for content in polyglots:
        assert payload in content
        prepared = accepted(content)
        for kept in (prepared.jpeg, prepared.thumbnail):
            assert b"alert" not in kept
            assert b"PK\3\4" not in kept
            assert not zipfile.is_zipfile(io.BytesIO(kept))


@pytest.mark.parametrize("kind", KINDS)
def test_stored_file_begins_and_ends_with_jpeg_markers(kind: str) -> None:
    prepared = accepted(KINDS[kind] + TAILS["html"])
    for kept in (prepared.jpeg, prepared.thumbnail):
        assert kept.startswith(b"\xff\xd8\xff\xe0")
        assert kept.endswith(b"\xff\xd9")
        assert kept.count(b"\xff\xd9") == 1


def test_archive_before_a_picture_is_rejected_as_zip() -> None:
    problem = rejection(archive() + KINDS["jpeg"])
    assert problem is not None
    assert (problem.reason, problem.detail.split(";")[0]) == (Reason.UNSUPPORTED_FORMAT, "ZIP")


def test_pixels_before_a_damaged_block_are_unchanged() -> None:
    """A damaged block of a JPEG may shift the pixels after it, but not those before it."""
    content = pictures.encoded(PICTURE, quality=90, restart_marker_rows=1)
    damaged = flipped(content, len(content) - 40, 2)
    assert reason(damaged) is None
    assert differs(stored(damaged)[:40], stored(content)[:40]) < 1
