"""HEIC and AVIF, as phones send them: the same checks and verdicts as for other formats.

HEIC files are coded by `tests.support.media.hevc`, so their pixels are known exactly.
"""

import struct
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from lake.pictures.formats import Format
from streaming.contract.rules import Rules
from streaming.contract.verdict import Reason, Rejected
from streaming.isolate.decoder import Decoder
from streaming.verify.preprocess import prepare
from tests.support import pictures
from tests.support.media import heif, hevc, orientations
from tests.support.media.heif import Item
from tests.support.verdicts import accepted, differs, pixels, reason, rejection, rules, stored

HALVES, NOISE = pictures.halves(), np.asarray(pictures.noise(80, 60, 1))
BRANDS = {Format.HEIC: heif.HEIC, Format.AVIF: heif.AVIF}
KINDS = tuple(BRANDS)
DEPTH, GAIN = b"urn:mpeg:hevc:2015:auxid:2", b"urn:com:apple:photo:2020:aux:hdrgainmap"
MIB = 2**20


def coded(kind: Format, rgb: Any = NOISE) -> Item:
    """A coded picture, nearly without loss."""
    if kind is Format.HEIC:
        return heif.hevc_item(rgb)
    return heif.avif_item(Image.fromarray(rgb), quality=100, subsampling="4:4:4")


def in_png(rgb: Any) -> Any:
    """What is stored of the same picture as a PNG."""
    return stored(pictures.encoded(Image.fromarray(np.ascontiguousarray(rgb)), "PNG"))


def packed(kind: Format, *items: Item, **options: Any) -> bytes:
    return heif.packed(items, BRANDS[kind], **options)


@pytest.mark.parametrize("kind", KINDS)
def test_both_are_accepted_by_default_and_stored_without_metadata(kind: Format) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker of phones"
    exif.get_ifd(0x8769)[0x9003] = "2025:06:01 12:30:00"
    told = heif.exif_item(exif.tobytes()[6:]), heif.xmp_item(b"<x>ann@example.org</x>")
    content = packed(kind, coded(kind, HALVES), *told)
    assert b"Maker of phones" in content
    prepared = accepted(content)
    assert (prepared.format, prepared.width, prepared.height) == (kind, 96, 64)
    assert differs(pixels(prepared.jpeg), HALVES) < 3
    assert prepared.taken_at == datetime(2025, 6, 1, 12, 30, tzinfo=UTC)
    assert b"Maker" not in prepared.jpeg + prepared.thumbnail
    assert b"example" not in prepared.jpeg + prepared.thumbnail


def test_a_setting_refuses_heic() -> None:
    own = replace(rules(), ingest=rules().ingest.model_copy(update={"heic": False}))
    with pytest.raises(Rejected) as caught:
        prepare(heif.still(), own)
    assert caught.value.reason is Reason.UNSUPPORTED_FORMAT
    assert caught.value.detail == "ISO media (heic); accepted formats: jpeg, png, webp, avif"
    assert prepare(packed(Format.AVIF, coded(Format.AVIF)), own)


@pytest.mark.parametrize(
    ("kind", "brands"),
    [
        (Format.HEIC, (b"mif1", b"mif1", b"heic")),
        (Format.HEIC, (b"heix", b"mif1", b"heix")),
        (Format.HEIC, (b"heic", b"mif1", b"MiHB", b"MiHE", b"miaf", b"heic", b"tmap")),
        (Format.AVIF, (b"mif1", b"mif1", b"avif", b"miaf", b"MA1B")),
        (Format.AVIF, (b"avif", b"avif", b"heic")),
    ],
)
def test_brands_tell_the_format(kind: Format, brands: tuple[bytes, ...]) -> None:
    assert accepted(heif.packed([coded(kind)], brands)).format == kind


@pytest.mark.parametrize("brand", [b"mif1", b"mp42", b"qt  ", b"crx ", b"M4A ", b"isom", b"jxl "])
def test_other_media_are_unsupported_by_name(brand: bytes) -> None:
    problem = rejection(heif.box(b"ftyp", brand, bytes(4), brand) + bytes(200))
    assert problem is not None
    assert problem.reason is Reason.UNSUPPORTED_FORMAT
    assert problem.detail.startswith(f"ISO media ({brand.decode()}); accepted")


@pytest.mark.parametrize("size", [(128, 128), (120, 100), (66, 66)])
@pytest.mark.parametrize("kind", KINDS)
def test_tiles_become_one_picture(kind: Format, size: tuple[int, int]) -> None:
    """As phones write all pictures of more than a few megapixels; the last tiles reach over the edge."""
    whole = np.asarray(pictures.noise(128, 128, 5))
    tiles = [
        coded(kind, np.ascontiguousarray(whole[y : y + 64, x : x + 64])) for y in (0, 64) for x in (0, 64)
    ]
    content = packed(kind, *heif.grid(tiles, 2, 2, size))
    assert (accepted(content).width, accepted(content).height) == size
    assert differs(stored(content), in_png(whole[: size[1], : size[0]])) < 3


def test_turned_tiles_of_a_heic() -> None:
    whole = np.asarray(pictures.noise(128, 128, 5))
    tiles = [heif.hevc_item(np.ascontiguousarray(whole[y : y + 64])) for y in (0, 64)]
    turned = heif.grid(tiles, 2, 1, (128, 128))
    content = heif.packed([turned[0].having(*heif.turned(6)), *turned[1:]])
    assert differs(stored(content), in_png(np.rot90(whole, -1))) < 3


def test_ten_bits_of_a_heic_are_scaled_to_eight() -> None:
    assert differs(stored(heif.still(HALVES, depth=10)), HALVES) < 3


def test_ten_bits_of_an_avif_are_scaled_to_eight() -> None:
    deep = cv2.cvtColor(HALVES, cv2.COLOR_RGB2BGR).astype(np.uint16) * 4
    options = [cv2.IMWRITE_AVIF_DEPTH, 10, cv2.IMWRITE_AVIF_QUALITY, 95]
    content = cv2.imencode(".avif", deep, options)[1].tobytes()
    assert content[content.index(b"av1C") + 6] & 0x40, "not more than eight bits"
    assert differs(stored(content), HALVES) < 4


def test_grey_heic() -> None:
    gray = np.asarray(Image.fromarray(NOISE).convert("L").convert("RGB"))
    assert differs(stored(heif.still(NOISE, gray=True)), gray) < 3


@pytest.mark.parametrize("kind", KINDS)
def test_transparent_pixels_are_on_white(kind: Format) -> None:
    if kind is Format.HEIC:
        alpha = heif.hevc_item(np.full((64, 96, 3), 128, np.uint8), gray=True)
        content = packed(kind, coded(kind, HALVES), heif.auxiliary(alpha, heif.ALPHA))
    else:
        image = Image.fromarray(np.dstack([HALVES, np.full((64, 96), 128, np.uint8)]))
        content = pictures.encoded(image, "AVIF", quality=95)
    assert differs(stored(content), (HALVES * (128 / 255) + 255 * (127 / 255)).round()) < 4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("urn", [DEPTH, GAIN], ids=["depth", "gain-map"])
@pytest.mark.parametrize("broken", [False, True])
def test_of_a_portrait_or_hdr_picture_the_still_is_taken(kind: Format, urn: bytes, broken: bool) -> None:
    """Depth map and gain map are auxiliary pictures; they are not even decoded."""
    extra = heif.auxiliary(coded(kind, np.zeros((32, 32, 3), np.uint8)), urn)
    extra = replace(extra, content=b"\0\0\0\4none") if broken else extra
    assert differs(stored(packed(kind, coded(kind, HALVES), extra)), HALVES) < 3


@pytest.mark.parametrize("kind", KINDS)
def test_thumbnail_is_not_used_as_the_picture(kind: Format) -> None:
    small = coded(kind, np.zeros((32, 32, 3), np.uint8)).having(references={b"thmb": (1,)}, hidden=True)
    prepared = accepted(packed(kind, coded(kind, HALVES), small))
    assert (prepared.width, prepared.height) == (96, 64)
    assert differs(pixels(prepared.jpeg), HALVES) < 3


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_burst_the_primary_picture_is_taken(kind: Format) -> None:
    others = [coded(kind, np.full((64, 96, 3), level, np.uint8)) for level in (0, 255)]
    content = packed(kind, others[0], coded(kind, HALVES), others[1], primary=2)
    assert differs(stored(content), HALVES) < 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "film",
    [
        heif.box(b"mpvd", heif.box(b"ftyp", b"mp42", bytes(4)), bytes(5000)),
        b"SEFHe\0\0\0MotionPhoto_Data" * 40,
    ],
    ids=["motion-photo", "Samsung trailer"],
)
def test_film_behind_a_picture_changes_nothing(kind: Format, film: bytes) -> None:
    assert differs(stored(packed(kind, coded(kind, HALVES)) + film), HALVES) < 3


def test_animated_avif_gives_its_first_frame_and_many_frames_are_a_scan_bomb() -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue", "lime")]
    content = pictures.encoded(frames[0], "AVIF", save_all=True, append_images=frames[1:])
    assert differs(stored(content), np.asarray(frames[0])) < 4
    many = [pictures.noise(40, 40)] * 101
    bomb = pictures.encoded(many[0], "AVIF", save_all=True, append_images=many[1:], speed=10)
    assert reason(bomb) is Reason.SCAN_BOMB


def _with_units(item: Item, *units: bytes) -> Item:
    """A HEVC item with further units before its slice."""
    return replace(
        item, content=b"".join(struct.pack(">I", len(each)) + each for each in units) + item.content
    )


def _resized(item: Item, width: int, height: int) -> Item:
    return replace(item, properties=(heif.ispe(width, height), *item.properties[1:]))


def _vast_av1() -> Item:
    """An AV1 picture whose sequence header states 65,536 x 65,536 pixels, beside a box that says 80 x 60."""
    item = heif.avif_item(pictures.noise(80, 60))
    start = item.content.index(b"\x0a") + 2  # behind the header of the sequence header's OBU
    bits = format(int.from_bytes(item.content[start : start + 10], "big"), "080b")
    # After profile, still picture and reduced header (5 bits) come level (5) and widths of the sizes (4 + 4).
    assert bits[4] == "1"
    widths = int(bits[10:14], 2) + 1, int(bits[14:18], 2) + 1
    sizes = format(2**16 - 1, "016b") * 2
    changed = bits[:10] + "1111" * 2 + sizes + bits[18 + sum(widths) :]
    changed += "0" * (-len(changed) % 8)
    body = int(changed, 2).to_bytes(len(changed) // 8, "big")
    rest = item.content[start + item.content[start - 1] :]
    return replace(item, content=item.content[: start - 1] + bytes((len(body),)) + body + rest)


_GRID = heif.grid([heif.hevc_item(NOISE)], 1, 1, (80, 60))
_VAST = struct.pack(">BBBBII", 0, 1, 0, 0, 50_000, 50_000)
BOMBS: dict[str, Callable[[], bytes]] = {
    "ispe of a heic": lambda: heif.packed([_resized(heif.hevc_item(NOISE), 50_000, 50_000)]),
    "ispe of an avif": lambda: heif.packed([_resized(_avif(), 2**32 - 1, 2**32 - 1)], heif.AVIF),
    "parameter set": lambda: heif.packed([_with_config(hevc.parameter_sets(16_000, 16_000))]),
    "parameter set in the data": lambda: heif.packed(
        [_with_units(heif.hevc_item(NOISE), hevc.parameter_sets(16_000, 16_000)[1])]
    ),
    "sequence header": lambda: heif.packed([_vast_av1()], heif.AVIF),
    "grid": lambda: heif.packed([_resized(_GRID[0], 50_000, 50_000), *_GRID[1:]]),
    "grid beside a small box": lambda: heif.packed([replace(_GRID[0], content=_VAST), *_GRID[1:]]),
    "thumbnail": lambda: heif.packed(
        [heif.hevc_item(NOISE), replace(_resized(heif.hevc_item(NOISE), 50_000, 50_000), hidden=True)]
    ),
}


def _avif() -> Item:
    return heif.avif_item(pictures.noise(80, 60))


def _with_config(units: list[bytes]) -> Item:
    item = heif.hevc_item(NOISE)
    return replace(item, properties=(item.properties[0], heif.hvcc(units), *item.properties[2:]))


@pytest.mark.parametrize("name", BOMBS)
def test_billions_of_pixels_in_any_header_are_a_pixel_bomb(name: str) -> None:
    """Refused before anything is decoded: decoders believe their own codec's header."""
    content = BOMBS[name]()
    tracemalloc.start()
    problem = rejection(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert problem is not None
    assert problem.reason is Reason.PIXEL_BOMB
    assert "at most 64,000,000" in problem.detail
    assert peak < 10 * MIB


def test_sizes_that_disagree_are_undecodable() -> None:
    assert reason(heif.packed([_resized(heif.hevc_item(NOISE), 64, 48)])) is Reason.UNDECODABLE
    assert reason(heif.packed([_with_config(hevc.parameter_sets(7008, 7008))])) is Reason.UNDECODABLE


@pytest.mark.parametrize("kind", KINDS)
def test_small_picture_is_too_small(kind: Format) -> None:
    assert reason(packed(kind, coded(kind, np.asarray(pictures.noise(64, 30))))) is Reason.TOO_SMALL


@pytest.mark.parametrize("data_first", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_cut_at_every_eighth_and_without_its_last_bytes_is_truncated(kind: Format, data_first: bool) -> None:
    whole = packed(kind, coded(kind), data_first=data_first)
    assert reason(whole) is None
    for eighth in range(1, 8):
        assert reason(whole[: len(whole) * eighth // 8]) is Reason.TRUNCATED, eighth
    assert {reason(whole[:-missing]) for missing in range(1, 17)} == {Reason.TRUNCATED}


@pytest.mark.parametrize("kind", KINDS)
def test_file_without_a_size_of_its_data_is_truncated_where_an_item_reaches_beyond(kind: Format) -> None:
    """The last box may say that it ends with the file; then only the items tell that something is missing."""
    whole = packed(kind, coded(kind))
    start = whole.rindex(b"mdat") - 4
    whole = whole[:start] + bytes(4) + whole[start + 4 :]
    assert reason(whole) is None
    assert reason(whole[:-50]) is Reason.TRUNCATED


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("block", [b"", b"rubbish", b"II*\0\xff\xff\xff\xff", bytes(60_000)], ids=len)
def test_damaged_exif_and_xmp_do_not_reject_a_picture(kind: Format, block: bytes) -> None:
    told = heif.exif_item(block), heif.xmp_item(b"\xff\xfe<" + block)
    far = Item(b"Exif", b"\xff\xff\xff\xff" + block, references={b"cdsc": (1,)}, hidden=True)
    for extra in ((told), (far,)):
        prepared = accepted(packed(kind, coded(kind, HALVES), *extra))
        assert differs(pixels(prepared.jpeg), HALVES) < 3
        assert prepared.taken_at is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [b"\xff\xff\xffo", b"uri ", b"unci", b"j2k1", b"\0\0\0\0"])
def test_items_that_are_no_picture_of_the_format_are_not_read(kind: Format, name: bytes) -> None:
    """pi-heif 1.4 crashes on the name of an item that is not UTF-8."""
    other = Item(name, b"whatever it is" * 9, references={b"cdsc": (1,)})
    assert differs(stored(packed(kind, coded(kind, HALVES), other)), HALVES) < 3


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bits_get_a_verdict(kind: Format) -> None:
    allowed = {
        None, Reason.UNDECODABLE, Reason.TRUNCATED, Reason.UNSUPPORTED_FORMAT, Reason.PIXEL_BOMB,
        Reason.TOO_SMALL, Reason.SCAN_BOMB,
    }  # fmt: skip
    whole = packed(kind, coded(kind, HALVES), heif.exif_item(orientations.tiff("<")))
    head = whole.index(b"mdat") + 40
    for at in (*range(head), *range(head, len(whole), 97)):
        changed = whole[:at] + bytes((whole[at] ^ 1 << at % 8,)) + whole[at + 1 :]
        assert reason(changed) in allowed, at


@pytest.mark.parametrize("kind", KINDS)
def test_entries_that_cost_no_bytes_cost_no_time(kind: Format) -> None:
    """Locations of zero bytes: each item may have 65,535 of them."""
    whole = bytearray(packed(kind, *[coded(kind)] * 90))
    at = whole.index(b"iloc") + 8
    whole[at : at + 2] = b"\0\0"  # offsets and lengths of zero bytes
    whole[at + 4 :: 6] = b"\xff" * len(whole[at + 4 :: 6])
    assert reason(bytes(whole)) in {Reason.UNDECODABLE, Reason.TRUNCATED, Reason.PIXEL_BOMB}


def test_the_largest_pictures_fit_into_the_limits_of_the_decoder_process(settings: Any) -> None:
    """64 megapixels, as tiles of 512 pixels in a HEIC."""
    tile, count = heif.hevc_item(np.asarray(pictures.noise(512, 512))), 16
    flat = Image.new("RGB", (8000, 8000), (20, 150, 220))
    contents = [
        heif.packed(heif.grid([tile] * count**2, count, count, (8000, 8000))),
        pictures.encoded(flat, "AVIF", speed=10),
    ]
    with Decoder(Rules.of(settings)) as own:
        for outcome in own.prepare(contents):
            assert not isinstance(outcome, Rejected), outcome
            assert (outcome.width, outcome.height) == (8000, 8000)
