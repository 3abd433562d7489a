import io
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime

import cv2
import numpy as np
import pytest
from PIL import Image

from conf import settings as configuration
from conf.choices import Flag
from lake.pictures.pixels import _shrink, centre_square, fit
from streaming.contract.rules import Rules
from streaming.contract.verdict import Reason, Rejected, RejectReason
from streaming.verify import file_checks
from streaming.verify.preprocess import prepare
from tests.support import pictures


@pytest.fixture(scope="module")
def rules() -> Rules:
    return Rules.of(configuration.load())


def reason_of(content: bytes, rules: Rules) -> RejectReason:
    with pytest.raises(Rejected) as caught:
        file_checks.image_id(content, None, rules.ingest)
        prepare(content, rules)
    return caught.value.reason


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_valid_picture_is_prepared(rules: Rules, kind: str) -> None:
    prepared = prepare(pictures.encoded(pictures.noise(400, 300), kind), rules)
    assert (prepared.format, prepared.width, prepared.height) == (kind.lower(), 400, 300)
    assert prepared.flags == ()
    assert pixels(prepared.jpeg).shape == (192, 256, 3)
    assert pixels(prepared.thumbnail).shape == (72, 96, 3)


def test_small_picture_is_not_enlarged(rules: Rules) -> None:
    prepared = prepare(pictures.jpeg(33, 40), rules)
    assert pixels(prepared.jpeg).shape == (40, 33, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright(rules: Rules, orientation: int) -> None:
    prepared = prepare(pictures.oriented(orientation), rules)
    assert (prepared.width, prepared.height) == (96, 64)
    upright = pixels(prepared.jpeg)
    assert upright.shape == (64, 96, 3)
    red = upright[:, :, 0] > 150
    assert red[4:28, 4:44].all()
    assert not red[36:, :].any()
    assert not red[:, 52:].any()


def test_metadata_is_dropped(rules: Rules) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8769)[0x9003] = "2025:06:01 12:30:00"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 0.0)
    prepared = prepare(pictures.jpeg(exif=exif, icc_profile=b"profile" * 20, comment=b"secret"), rules)
    assert prepared.taken_at == datetime(2025, 6, 1, 12, 30, tzinfo=UTC)
    for content in (prepared.jpeg, prepared.thumbnail):
        assert not Image.open(io.BytesIO(content)).getexif()
        assert b"secret" not in content
        assert b"Maker" not in content
        assert b"profile" not in content


@pytest.mark.parametrize("eighth", range(1, 8))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_truncated_picture_is_rejected_with_reason(rules: Rules, kind: str, eighth: int) -> None:
    whole = pictures.encoded(pictures.noise(200, 150, seed=eighth), kind)
    assert reason_of(whole[: len(whole) * eighth // 8], rules) is Reason.TRUNCATED


@pytest.mark.parametrize(
    "content",
    [
        b"GIF89a" + bytes(40),
        b"%PDF-1.7\n",
        b"\x7fELF" + bytes(60),
        b"<svg xmlns=''/>",
        b"hello",
        b"BM" + bytes(60),
    ],
)
def test_other_formats_are_unsupported(rules: Rules, content: bytes) -> None:
    assert reason_of(content, rules) is Reason.UNSUPPORTED_FORMAT


def test_right_magic_with_rubbish_is_undecodable(rules: Rules) -> None:
    rubbish = np.random.default_rng(1).integers(0, 256, 2000, np.uint8).tobytes()
    assert reason_of(b"\xff\xd8\xff\xe0" + rubbish + b"\xff\xd9", rules) is Reason.UNDECODABLE


def test_empty_and_too_large(rules: Rules) -> None:
    assert reason_of(b"", rules) is Reason.EMPTY
    assert reason_of(b"\xff" * (rules.ingest.max_bytes + 1), rules) is Reason.TOO_LARGE


def test_claimed_hash_is_checked(rules: Rules) -> None:
    with pytest.raises(Rejected) as caught:
        file_checks.image_id(b"content", "00" * 32, rules.ingest)
    assert caught.value.reason is Reason.CHECKSUM_MISMATCH


@pytest.mark.parametrize(
    "content",
    [pictures.png_claiming(50_000, 50_000), pictures.webp_claiming(16_383, 16_383)],
    ids=["png", "webp"],
)
def test_pixel_bomb_is_refused_by_its_header(rules: Rules, content: bytes) -> None:
    assert len(content) < 4096
    assert reason_of(content, rules) is Reason.PIXEL_BOMB


def test_jpeg_of_a_thousand_scans_is_refused(rules: Rules) -> None:
    bomb = pictures.with_scans(pictures.jpeg(progressive=True), 1000)
    assert reason_of(bomb, rules) is Reason.SCAN_BOMB


def test_ordinary_progressive_jpeg_is_accepted(rules: Rules) -> None:
    assert prepare(pictures.jpeg(progressive=True), rules).width == 80


def test_a_video_after_the_picture_is_no_scan_bomb(rules: Rules) -> None:
    """Phones append a short film to a still; its bytes contain the scan marker by chance."""
    film = b"\x00\xff\xda\x00" * 500
    assert prepare(pictures.jpeg() + film, rules).width == 80


def test_animation_of_many_frames_is_refused(rules: Rules) -> None:
    frames = [pictures.noise(40, 40, seed) for seed in range(120)]
    content = pictures.encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    assert reason_of(content, rules) is Reason.SCAN_BOMB


def test_short_animation_gives_its_first_frame(rules: Rules) -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue", "lime")]
    content = pictures.encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])
    assert np.abs(pixels(prepare(content, rules).jpeg)[32, 32].astype(int) - (255, 0, 0)).max() < 6


def test_too_small(rules: Rules) -> None:
    assert reason_of(pictures.jpeg(31, 200), rules) is Reason.TOO_SMALL


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "1", "I;16", "RGBA", "LA"])
def test_every_colour_mode_becomes_rgb(rules: Rules, mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    if mode == "I;16":
        image = Image.fromarray(np.full((60, 80), 200 << 8, np.uint16))
    else:
        image = Image.new("RGB", (80, 60), (200, 200, 200)).convert(mode)
    middle = pixels(prepare(pictures.encoded(image, kind), rules).jpeg)
    assert middle.shape == (60, 80, 3)
    if mode != "1":
        assert np.abs(middle[30, 40].astype(int) - 200).max() <= 3


def test_transparency_is_blended_with_white(rules: Rules) -> None:
    clear = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    assert pixels(prepare(pictures.encoded(clear, "PNG"), rules).jpeg).min() >= 253


def test_picture_with_damaged_exif_is_accepted(rules: Rules) -> None:
    assert prepare(pictures.jpeg(exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"), rules).taken_at is None


def test_a_flag_rejects_where_the_setting_says_so(rules: Rules) -> None:
    strict = replace(rules, quality=rules.quality.model_copy(update={"reject": ("dark",)}))
    night = pictures.encoded(Image.new("RGB", (64, 64), (5, 5, 20)))
    assert "dark" in prepare(night, rules).flags
    assert reason_of(night, strict) is Flag.DARK


def test_scaled_decoding_agrees_with_full_decoding(rules: Rules) -> None:
    """A JPEG decoded at a quarter and shrunk looks like the same picture decoded whole and shrunk."""
    y, x = np.mgrid[0:1200, 0:1600]
    smooth = np.stack([x / 1600 * 255, y / 1200 * 255, (x + y) / 2800 * 255], axis=-1).astype(np.uint8)
    prepared = prepare(pictures.encoded(Image.fromarray(smooth), quality=95), rules)
    expected = cv2.resize(smooth, (256, 192), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(pixels(prepared.jpeg) - expected).mean() < 1.5


@pytest.mark.parametrize(
    "size", [(500, 375), (289, 217), (260, 200), (577, 400), (900, 60), (3000, 40), (256, 9)]
)
def test_shrinking_is_the_mean_over_areas(size: tuple[int, int]) -> None:
    """The result differs from cv2.resize with INTER_AREA by rounding only; no pixel is skipped."""
    width, height = size
    picture = cv2.GaussianBlur(
        np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8), (0, 0), 1.5
    )
    found = fit(picture, 256)
    expected = cv2.resize(picture, found.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert max(found.shape) == 256
    assert np.abs(found.astype(int) - expected).mean() < 1


@pytest.mark.parametrize(
    ("size", "side"),
    [((300, 200), 36), ((5000, 40), 36), ((36, 36), 36), ((40, 30), 36), ((7, 20), 36), ((4, 16), 252)],
)
def test_square_is_the_centre_of_the_resized_picture(size: tuple[int, int], side: int) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    assert np.array_equal(centre_square(picture, side), centre_of_resized(picture, side))


@pytest.mark.parametrize("length", [10, 101, 400])
@pytest.mark.parametrize(("width", "side"), [(1, 252), (2, 36), (5, 36)])
def test_square_of_an_enlarged_strip_differs_by_rounding_only(length: int, width: int, side: int) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (width, length, 3), dtype=np.uint8)
    for turned in (picture, picture.transpose(1, 0, 2).copy()):
        found, expected = centre_square(turned, side), centre_of_resized(turned, side)
        assert found.shape == (side, side, 3) and np.abs(found.astype(int) - expected).max() <= 1


def centre_of_resized(picture: np.ndarray, side: int) -> np.ndarray:
    """The reference: the whole picture is resized, then its centre is cropped."""
    height, width = picture.shape[:2]
    scale = side / min(height, width)
    size = max(side, round(width * scale)), max(side, round(height * scale))
    if scale < 1:
        whole = _shrink(picture, *size)
    else:
        whole = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR) if scale > 1 else picture
    top, left = (whole.shape[0] - side) // 2, (whole.shape[1] - side) // 2
    return whole[top : top + side, left : left + side]


def test_a_line_of_pixels_becomes_a_square_in_little_memory() -> None:
    line = np.full((1, 20_000, 3), 77, np.uint8)
    tracemalloc.start()
    try:
        assert (centre_square(line[:, :1500], 252) == 77).all() and (centre_square(line, 252) == 77).all()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10**7, "1,500 pixels would be 286 MB of the whole picture"
