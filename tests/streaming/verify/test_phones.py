"""Oddities of JPEGs from phones and cameras: pixels as of the plain picture, in ingestion and prediction."""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lake.errors import UndecodablePicture
from models.pictures.inputs import decode_centre_crop
from streaming.contract.rules import Rules
from streaming.contract.verdict import Reason
from streaming.isolate.decoder import Decoder
from streaming.verify.prepared import Prepared
from tests.support import pictures
from tests.support.media import heif
from tests.support.verdicts import accepted, differs, pixels, reason, rejection

SIDE = 32
PICTURE = pictures.noise(640, 480, seed=9)
PLAIN = pictures.encoded(PICTURE, quality=90)
XMP = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta><rdf:Description %s/></x:xmpmeta>"
FILM = heif.box(b"ftyp", b"mp42", bytes(4), b"isommp42") + np.random.default_rng(0).bytes(100_000)
FRAME, SCAN = PLAIN.index(b"\xff\xc0"), PLAIN.index(b"\xff\xda")


def mpo() -> bytes:
    """Several pictures in one file, as of cameras with two lenses and of HDR (CIPA DC-007)."""
    second = pictures.noise(320, 240, seed=1)
    return pictures.encoded(PICTURE, "MPO", quality=90, save_all=True, append_images=[second])


def scan_parameters(spectral_end: int) -> bytes:
    """The last three bytes of the scan header, which a baseline decoder ignores (Samsung writes zeros)."""
    end = SCAN + 5 + 2 * PLAIN[SCAN + 4]
    return PLAIN[:end] + bytes((0, spectral_end, 0)) + PLAIN[end + 3 :]


def ink() -> bytes:
    """A picture in CMYK, inverted as always, but without the Adobe segment that says so."""
    content = pictures.encoded(PICTURE.convert("CMYK"), quality=90)
    at = content.index(b"\xff\xee")
    return content[:at] + content[at + 2 + int.from_bytes(content[at + 2 : at + 4], "big") :]


ODDITIES: dict[str, Callable[[], bytes]] = {
    "mpo": mpo,
    "ultra-hdr": lambda: pictures.with_segment(mpo(), 0xE1, XMP % b'hdrgm:Version="1.0"'),
    "motion-photo": lambda: pictures.with_segment(PLAIN, 0xE1, XMP % b'GCamera:MotionPhoto="1"') + FILM,
    "Samsung trailer": lambda: PLAIN + b"MotionPhoto_Data" + FILM + b"SEFH" + bytes(40) + b"SEFT",
    "Samsung scan": lambda: scan_parameters(0),
    "depth map behind": lambda: PLAIN + pictures.encoded(pictures.noise(64, 48).convert("L")),
    "Raspberry padding": lambda: PLAIN + bytes(3),
    "padding before the end": lambda: PLAIN[:-2] + bytes(1) + PLAIN[-2:],
    "junk before the end": lambda: PLAIN[:-2] + b"\x7f" + PLAIN[-2:],
    "newline behind": lambda: PLAIN + b"\r\n",
    "fill bytes": lambda: PLAIN[:2] + b"\xff\xff" + PLAIN[2:FRAME] + b"\xff\xff" + PLAIN[FRAME:],
    "large comment": lambda: pictures.with_segment(PLAIN, 0xFE, bytes(65_000)),
    "restart interval of zero": lambda: PLAIN[:SCAN] + b"\xff\xdd\0\4\0\0" + PLAIN[SCAN:],
    "thumbnail": lambda: pictures.with_segment(
        PLAIN, 0xE1, b"Exif\0\0" + pictures.tiff() + pictures.encoded(Image.new("RGB", (160, 120), "lime"))
    ),
}


@pytest.mark.parametrize("name", ODDITIES)
def test_picture_is_as_the_plain_one(name: str) -> None:
    content, plain = ODDITIES[name](), accepted(PLAIN)
    prepared = accepted(content)
    assert (prepared.format, prepared.width, prepared.height) == ("jpeg", 640, 480)
    assert (prepared.jpeg, prepared.phash, prepared.flags) == (plain.jpeg, plain.phash, plain.flags)
    assert np.array_equal(decode_centre_crop(content, SIDE), decode_centre_crop(PLAIN, SIDE))


def test_ink_without_the_segment_of_adobe_has_the_colours_of_the_plain_picture() -> None:
    assert b"Adobe" not in ink()
    whole = pictures.encoded(PICTURE.convert("CMYK"), quality=90)
    assert accepted(ink()).jpeg == accepted(whole).jpeg
    assert differs(pixels(accepted(ink()).jpeg), pixels(accepted(PLAIN).jpeg)) < 5
    assert np.array_equal(decode_centre_crop(ink(), SIDE), decode_centre_crop(whole, SIDE))


def test_in_the_decoder_process_each_is_the_same(settings: Any) -> None:
    contents = [make() for make in ODDITIES.values()]
    with Decoder(Rules.of(settings)) as own:
        for outcome in own.prepare(contents):
            assert isinstance(outcome, Prepared)
            assert outcome.jpeg == accepted(PLAIN).jpeg


def with_frame(marker: int, bits: int = 8, height: int | None = None) -> bytes:
    """The plain picture whose frame header says something else."""
    head = struct.pack(">BBHB", 0xFF, marker, 17, bits)
    tall = PLAIN[FRAME + 5 : FRAME + 7] if height is None else struct.pack(">H", height)
    return PLAIN[:FRAME] + head + tall + PLAIN[FRAME + 7 :]


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "lossless": (lambda: pictures.lossless_jpeg(640, 520), "it is a lossless JPEG"),
    "small lossless": (lambda: pictures.lossless_jpeg(300, 200), "it is a lossless JPEG"),
    "lossless, progressive tables": (lambda: with_frame(0xC3), "it is a lossless JPEG"),
    "differential": (lambda: with_frame(0xC5), "it is a hierarchical JPEG"),
    "differential progressive": (lambda: with_frame(0xC6), "it is a hierarchical JPEG"),
    "differential lossless": (lambda: with_frame(0xC7), "it is a hierarchical JPEG"),
    "arithmetic": (lambda: with_frame(0xC9), "it is an arithmetic coded JPEG"),
    "arithmetic progressive": (lambda: with_frame(0xCA), "it is an arithmetic coded JPEG"),
    "arithmetic lossless": (lambda: with_frame(0xCB), "it is an arithmetic coded JPEG"),
    "arithmetic differential": (lambda: with_frame(0xCD), "it is a hierarchical JPEG"),
    "arithmetic differential progressive": (lambda: with_frame(0xCE), "it is a hierarchical JPEG"),
    "arithmetic differential lossless": (lambda: with_frame(0xCF), "it is a hierarchical JPEG"),
    "hierarchical": (lambda: with_frame(0xDE), "it is a hierarchical JPEG"),
    "JPEG-LS": (lambda: with_frame(0xF7), "it is a JPEG-LS"),
    "twelve bits": (lambda: with_frame(0xC1, bits=12), "it has 12 bits per sample"),
    "sixteen bits": (lambda: with_frame(0xC3, bits=16), "it is a lossless JPEG"),
    "height behind the pixels": (lambda: with_frame(0xC0, height=0), "its header has the height 0"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("before", [b"", b"\xff\xff\xff", b"\xff\x01", b"\xff\xd0"], ids=repr)
def test_processes_that_no_camera_uses_are_refused_in_words(name: str, before: bytes) -> None:
    """By the header, before a decoder sees a byte of the data; whatever is before the frame."""
    make, words = REFUSED[name]
    content = make()
    at = next(i for i in range(2, len(content)) if content[i] == 0xFF and content[i + 1] not in (0xE0, 0xDB))
    content = content[:at] + before + content[at:]
    problem = rejection(content)
    assert problem is not None
    assert (problem.reason, words in problem.detail) == (Reason.UNDECODABLE, True), problem
    with pytest.raises(UndecodablePicture, match=words):
        decode_centre_crop(content, SIDE)


def test_no_lossless_picture_crashes_the_decoder_process(settings: Any) -> None:
    """From 511 pixels on, libjpeg-turbo's reduced decoding wrote past the end of the picture."""
    contents = [pictures.lossless_jpeg(side, side) for side in (64, 511, 512, 640, 2000)]
    with Decoder(Rules.of(settings)) as own:
        for outcome in own.prepare(contents):
            assert not isinstance(outcome, Prepared)
            assert outcome.reason is Reason.UNDECODABLE


def test_words_before_a_picture_are_no_format() -> None:
    assert reason(b"\r\n" + PLAIN) is Reason.UNSUPPORTED_FORMAT
