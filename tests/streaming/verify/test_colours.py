"""Every colour mode, depth and palette is stored with the colours that a person sees."""

import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.support import pictures
from tests.support.verdicts import accepted, differs, stored

RGB = pictures.halves()
TOP, BOTTOM = RGB[0, 0], RGB[-1, 0]


def shown(content: bytes) -> tuple[list[int], list[int]]:
    """The colours in the middle of the upper and of the lower half."""
    pixels = stored(content)
    assert pixels.shape == (64, 96, 3)
    return pixels[16, 48].tolist(), pixels[48, 48].tolist()


def assert_shows(content: bytes, top: Any, bottom: Any, within: int = 3) -> None:
    for found, expected in zip(shown(content), (top, bottom), strict=True):
        assert np.abs(np.array(found) - np.array(expected)).max() <= within, (found, expected)


def gray(rgb: Any) -> Any:
    """Luma as Pillow rounds it, as RGB."""
    value = Image.fromarray(rgb.reshape(1, 1, 3)).convert("L").getpixel((0, 0))
    return [value] * 3


def test_cmyk_jpeg_of_adobe_is_not_a_negative() -> None:
    content = pictures.encoded(Image.fromarray(RGB).convert("CMYK"), quality=95)
    assert b"Adobe" in content
    assert_shows(content, TOP, BOTTOM)


def test_ycck_jpeg_of_adobe_has_its_colours() -> None:
    assert_shows(pictures.ycck(RGB), TOP, BOTTOM)


def test_rgb_jpeg_without_colour_transform_has_its_colours() -> None:
    content = pictures.encoded(Image.fromarray(RGB), quality=95, keep_rgb=True)
    assert_shows(content, TOP, BOTTOM)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_of_any_subsampling_has_its_colours(subsampling: int, progressive: bool) -> None:
    image = Image.fromarray(RGB)
    content = pictures.encoded(image, quality=95, subsampling=subsampling, progressive=progressive)
    assert_shows(content, TOP, BOTTOM)


def test_gray_jpeg_is_gray() -> None:
    assert_shows(pictures.encoded(Image.fromarray(RGB).convert("L"), quality=95), gray(TOP), gray(BOTTOM))


def test_16_bit_gray_png_keeps_its_high_byte() -> None:
    values = RGB[..., 0].astype(np.uint16) * 256 + 99
    content = pictures.png_of((96, 64, 16, 0), pictures.rows_of_16_bits(values))
    assert_shows(content, [TOP[0]] * 3, [BOTTOM[0]] * 3)


@pytest.mark.parametrize("alpha", [False, True])
def test_16_bit_rgb_png_keeps_its_high_bytes(alpha: bool) -> None:
    values = RGB.astype(np.uint16) * 256 + 99
    if alpha:
        values = np.dstack([values, np.full((64, 96), 65535, np.uint16)])
    rows = pictures.rows_of_16_bits(values.reshape(64, -1))
    assert_shows(pictures.png_of((96, 64, 16, 6 if alpha else 2), rows), TOP, BOTTOM)


@pytest.mark.parametrize("colours", [2, 4, 16, 256])
def test_palette_of_any_depth_has_its_colours(colours: int) -> None:
    image = Image.fromarray(RGB).quantize(colours)
    assert_shows(pictures.encoded(image, "PNG"), TOP, BOTTOM)


def test_transparent_colour_of_a_palette_is_white() -> None:
    image = Image.fromarray(RGB).quantize(4)
    content = pictures.encoded(image, "PNG", transparency=image.getpixel((0, 0)))
    assert_shows(content, (255, 255, 255), BOTTOM)


def test_half_transparent_palette_is_half_white() -> None:
    content = pictures.encoded(Image.fromarray(RGB).quantize(4), "PNG", transparency=bytes([128] * 4))
    assert_shows(content, (TOP + 255.0) / 2, (BOTTOM + 255.0) / 2)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_half_transparent_pixels_are_half_white(kind: str) -> None:
    image = Image.fromarray(np.dstack([RGB, np.full((64, 96), 128, np.uint8)]))
    content = pictures.encoded(image, kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert_shows(content, (TOP + 255.0) / 2, (BOTTOM + 255.0) / 2)


def test_transparent_colour_of_an_rgb_png_is_white() -> None:
    content = pictures.encoded(Image.fromarray(RGB), "PNG", transparency=tuple(TOP.tolist()))
    assert_shows(content, (255, 255, 255), BOTTOM)


@pytest.mark.parametrize("depth", [8, 16])
def test_transparent_gray_is_white(depth: int) -> None:
    values = RGB[..., 0].astype(np.uint16) * (257 if depth == 16 else 1)
    image = Image.fromarray(values if depth == 16 else values.astype(np.uint8))
    content = pictures.encoded(image, "PNG", transparency=int(values[0, 0]))
    assert_shows(content, (255, 255, 255), [BOTTOM[0]] * 3)


@pytest.mark.parametrize(("depth", "unused"), [(1, 0), (2, 0), (4, 0), (2, 0xFF00), (4, 0xFF00)])
def test_transparent_gray_of_few_bits_is_white(depth: int, unused: int) -> None:
    """Only the low bits of the transparent value count, as many as a sample has."""
    dark = sum(1 << at for at in range(0, 8, depth))  # a byte of samples that are 1
    rows = (b"\0" + bytes([dark]) * (12 * depth)) * 32 + bytes(1 + 12 * depth) * 32
    for clear, top, bottom in ((1, 255, 0), (0, 255 // (2**depth - 1), 255)):
        content = pictures.png_of(
            (96, 64, depth, 0), rows, more=((b"tRNS", struct.pack(">H", clear | unused)),)
        )
        assert_shows(content, [top] * 3, [bottom] * 3)


def test_transparent_colour_of_a_16_bit_rgb_png_is_white_and_its_swapped_bytes_are_not() -> None:
    values = np.empty((64, 96, 3), np.uint16)
    values[:32], values[32:] = (0x1234, 0x5678, 0x9ABC), (0x3412, 0x7856, 0xBC9A)
    more = ((b"tRNS", struct.pack(">HHH", *values[0, 0])),)
    content = pictures.png_of((96, 64, 16, 2), pictures.rows_of_16_bits(values.reshape(64, -1)), more=more)
    assert_shows(content, (255, 255, 255), (0x34, 0x78, 0xBC))


def test_gray_with_alpha_is_blended_with_white() -> None:
    image = Image.merge("LA", (Image.fromarray(RGB[..., 0]), Image.new("L", (96, 64), 128)))
    assert_shows(pictures.encoded(image, "PNG"), [(20 + 255) / 2] * 3, [(200 + 255) / 2] * 3)


def test_1_bit_is_black_and_white() -> None:
    image = Image.fromarray(pictures.halves((0, 0, 0), (255, 255, 255))).convert("1")
    content = pictures.encoded(image, "PNG")
    assert_shows(content, (0, 0, 0), (255, 255, 255))
    assert "grayscale" in accepted(content).flags


@pytest.mark.parametrize("depth", [2, 4])
def test_gray_of_few_bits_spans_black_to_white(depth: int) -> None:
    full = b"\0" + b"\xff" * (96 * depth // 8)
    empty = b"\0" * len(full)
    assert_shows(pictures.png_of((96, 64, depth, 0), empty * 32 + full * 32), (0,) * 3, (255,) * 3)


def test_interlaced_png_has_its_colours() -> None:
    """The first pass has the pixels of every eighth row and column."""
    assert_shows(pictures.interlaced(RGB), TOP, BOTTOM)


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PROFILES = {
    "valid": SRGB,
    "cut": SRGB[:100],
    "rubbish": b"no profile" * 20,
    "large": SRGB + bytes(900_000),
}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_profile_changes_nothing_and_is_not_kept(kind: str, profile: str) -> None:
    """Colours are read as sRGB, which phones send; profiles are not parsed."""
    plain = accepted(pictures.encoded(Image.fromarray(RGB), kind, quality=95))
    found = accepted(pictures.encoded(Image.fromarray(RGB), kind, quality=95, icc_profile=PROFILES[profile]))
    assert (found.jpeg, found.thumbnail) == (plain.jpeg, plain.thumbnail)
    assert b"ICC_PROFILE" not in found.jpeg


def test_colours_of_a_whole_photo_survive_every_format() -> None:
    image = pictures.noise(256, 192, seed=5)
    options: dict[str, dict[str, Any]] = {
        "PNG": {},
        "WEBP": {"lossless": True},
        "JPEG": {"quality": 100, "subsampling": 0},
    }
    for kind, chosen in options.items():
        assert differs(stored(pictures.encoded(image, kind, **chosen)), np.asarray(image)) < 3.5
