"""Mutations for the fuzz target: valid pictures of every format and mode, and functions that damage them."""

import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from lake.pictures import jpeg_codec
from tests.support import pictures
from tests.support.media import heif

PNG, JPEG, RIFF = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF"
_EXTREME_NUMBERS = (0, 1, 2, 31, 32, 255, 256, 4000, 8000, 16_383, 65_535, 2**24, 2**31 - 1, 2**32 - 1)


@cache
def seeds() -> tuple[bytes, ...]:
    """One valid picture of each format and mode, the same on every run."""
    photo = pictures.noise(80, 60, seed=1)
    alpha = Image.fromarray(np.dstack([np.asarray(photo), np.full((60, 80), 128, np.uint8)]))
    frames = [pictures.noise(48, 40, seed) for seed in range(3)]
    moving: dict[str, Any] = {"save_all": True, "append_images": frames[1:]}
    exif, deep = Image.Exif(), np.asarray(photo).astype(np.uint16) * 257
    exif[0x0112], exif[0x010F] = 6, "Maker"
    exif.get_ifd(0x8769)[0x9003] = "2025:06:01 12:30:00"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 0.0)
    jpegs = [
        pictures.encoded(photo),
        pictures.encoded(photo, progressive=True),
        pictures.encoded(
            photo, subsampling=0, quality=98, exif=exif, icc_profile=b"profile" * 9, comment=b"words"
        ),
        pictures.encoded(photo, restart_marker_blocks=3),
        pictures.encoded(photo.convert("L")),
        pictures.encoded(photo.convert("CMYK")),
        pictures.ycck(np.asarray(photo)),
        b"".join(pictures.separate(photo)),
        pictures.jpeg(400, 300, progressive=True),
        pictures.jpeg(640, 480),
    ]
    pngs = [pictures.encoded(photo.convert(mode), "PNG") for mode in ("RGB", "L", "1", "P")]
    pngs += [
        pictures.encoded(alpha, "PNG", exif=exif),
        pictures.encoded(alpha.convert("LA"), "PNG", icc_profile=b"profile" * 9),
        pictures.encoded(photo.quantize(16), "PNG", transparency=bytes(range(0, 256, 16))),
        pictures.encoded(Image.fromarray(deep[..., 0]), "PNG"),
        pictures.png_of((80, 60, 16, 2), pictures.rows_of_16_bits(deep.reshape(60, -1))),
        pictures.png_of((40, 32, 8, 0), bytes(1400), interlace=1),
        pictures.encoded(frames[0], "PNG", **moving),
        pictures.png_with((b"tEXt", b"k\0words"), (b"zTXt", b"k\0\0" + zlib.compress(b"words" * 99))),
    ]
    webps = [
        pictures.encoded(photo, "WEBP"),
        pictures.encoded(photo, "WEBP", lossless=True),
        pictures.encoded(alpha, "WEBP"),
        pictures.encoded(alpha, "WEBP", exif=exif, icc_profile=b"profile" * 9, xmp=b"<x/>"),
        pictures.encoded(frames[0], "WEBP", **moving),
    ]
    return (*jpegs, *pngs, *webps, *_media_seeds(photo, alpha, moving, exif))


def _media_seeds(
    photo: Image.Image, alpha: Image.Image, moving: dict[str, Any], exif: Image.Exif
) -> list[bytes]:
    """HEIC and AVIF: stills, tiles, ten bits, grey, alpha, metadata, and an animation."""
    tiles = [np.asarray(pictures.noise(48, 32, seed)) for seed in range(4)]
    coded, shadow = heif.hevc_item(np.asarray(photo)), heif.hevc_item(np.asarray(photo), gray=True)
    told = [heif.exif_item(exif.tobytes()[6:]), heif.xmp_item(b"<x/>")]
    small = heif.hevc_item(np.asarray(photo.resize((40, 30)))).having(references={b"thmb": (1,)}, hidden=True)
    heics = [
        [coded],
        [heif.hevc_item(np.asarray(photo), depth=10).having(*heif.turned(7))],
        [shadow],
        heif.grid([heif.hevc_item(tile) for tile in tiles], 2, 2, (90, 60)),
        [coded, heif.auxiliary(shadow, heif.ALPHA)],
        [coded, small, *told],
    ]
    avifs = [
        [heif.avif_item(photo)],
        [heif.avif_item(photo, quality=100, subsampling="4:4:4").having(*heif.turned(6)), *told],
        heif.grid([heif.avif_item(pictures.noise(64, 64, seed)) for seed in range(4)], 2, 2, (128, 128)),
    ]
    return [
        *(heif.packed(items, data_first=True) for items in heics),
        *(heif.packed(items, heif.AVIF, data_first=True) for items in avifs),
        pictures.encoded(alpha, "AVIF"),
        pictures.encoded(moving["append_images"][0], "AVIF", **moving),
    ]


def mutant(seed: int, number: int) -> bytes:
    """A seed picture with one to four mutations; the same arguments give the same bytes."""
    random = Random(seed << 32 | number)
    content = random.choice(seeds())
    for _ in range(random.choice((1, 1, 1, 2, 3, 4))):
        content = random.choice(_MUTATIONS)(content, random)
    return content


def _flip_bits(content: bytes, random: Random) -> bytes:
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 8, 64))):
        if changed:
            changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _change_run(content: bytes, random: Random) -> bytes:
    """Overwrite, insert or remove a run of bytes."""
    at, length = random.randrange(len(content) + 1), random.choice((1, 2, 4, 16, 300, 5000))
    fill = random.choice(
        (bytes(length), b"\xff" * length, random.randbytes(length), content[at : at + length])
    )
    return content[:at] + random.choice((fill, b"")) + content[at + random.choice((0, length)) :]


def _truncate(content: bytes, random: Random) -> bytes:
    end = random.choice((b"", b"\xff\xd9", pictures.chunk(b"IEND", b"")))
    return content[: random.randrange(len(content) + 1)] + end


def _splice(content: bytes, random: Random) -> bytes:
    """Join the beginning of one picture and the end of another."""
    other = random.choice(seeds())
    return content[: random.randrange(len(content) + 1)] + other[random.randrange(len(other)) :]


def _overwrite_number(content: bytes, random: Random) -> bytes:
    """Overwrite a random place with an extreme length, size, offset or count, in either byte order."""
    layout = random.choice(("<H", ">H", "<I", ">I"))
    value = random.choice(_EXTREME_NUMBERS) & (0xFFFF if layout[1] == "H" else 0xFFFFFFFF)
    at = random.randrange(min(len(content), random.choice((64, 1000, 10**6))) + 1)
    return content[:at] + struct.pack(layout, value) + content[at + struct.calcsize(layout) :]


def _change_parts(content: bytes, random: Random) -> bytes:
    """Repeat, drop, move or damage segments or chunks, then correct checksums and sizes."""
    head, *parts = split_parts(content)
    for _ in range(random.choice((1, 1, 3))):
        if not parts:
            break
        at, change = random.randrange(len(parts)), random.randrange(5)
        if change == 0:
            parts[at:at] = [parts[at]] * random.choice((1, 2, 30, 120))
        elif change == 1:
            del parts[at]
        elif change == 2:
            parts.insert(random.randrange(len(parts)), parts.pop(at))
        elif change == 3:
            parts[at] = parts[at][:8] + _change_run(parts[at][8:], random)
        else:
            parts[at] = parts[at][:8] + _overwrite_number(parts[at][8:], random)
    return join_parts(head, parts)


_MUTATIONS: tuple[Callable[[bytes, Random], bytes], ...] = (
    _flip_bits, _flip_bits, _change_run, _truncate, _splice, _overwrite_number, _overwrite_number,
    _change_parts, _change_parts, _change_parts,
)  # fmt: skip


def split_parts(content: bytes) -> list[bytes]:
    """The bytes before the first part, and the parts.

    Parts are segments of a JPEG, chunks of a PNG or a WebP, boxes of HEIC or AVIF: in `meta`, if it is last.
    """
    if content.startswith(JPEG):
        cuts = [position for _, position in jpeg_codec.markers(content)]
        return [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    if content.startswith(PNG):
        return [
            content[:8],
            *_split_chunks(content, 8, lambda at: int.from_bytes(content[at : at + 4], "big") + 12),
        ]
    if content[4:8] == b"ftyp":
        meta = content.find(b"meta") - 4
        is_last = meta + int.from_bytes(content[meta : meta + 4], "big") == len(content)
        start = meta + 12 if is_last else int.from_bytes(content[:4], "big")
        return [content[:start], *_split_chunks(content, start, lambda at: _box_length(content, at))]
    return [content[:12], *_split_chunks(content, 12, lambda at: _chunk_length(content, at) + 8)]


def _split_chunks(content: bytes, at: int, size: Callable[[int], int]) -> Iterator[bytes]:
    while at + 8 <= len(content):
        length = max(8, size(at))
        yield content[at : at + length]
        at += length + (length % 2 if content.startswith(RIFF) else 0)


def _box_length(content: bytes, at: int) -> int:
    return int.from_bytes(content[at : at + 4], "big")


def _chunk_length(content: bytes, at: int) -> int:
    return int.from_bytes(content[at + 4 : at + 8], "little")


def join_parts(head: bytes, parts: list[bytes]) -> bytes:
    """Join the parts to a file with correct lengths, checksums and padding."""
    if head.startswith(PNG):
        return head + b"".join(pictures.chunk(part[4:8], part[8:-4]) for part in parts)
    if head.startswith(RIFF):
        bodies = [(part[:4].ljust(4), part[8:]) for part in parts]
        body = b"".join(
            name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
            for name, content in bodies
        )
        return RIFF + struct.pack("<I", len(body) + 4) + b"WEBP" + body
    if head[4:8] == b"ftyp":
        body = b"".join(struct.pack(">I", len(part)) + part[4:] for part in parts)
        if head[-8:-4] == b"meta":
            head = head[:-12] + struct.pack(">I", len(body) + 12) + head[-8:]
        return head + body
    return head + b"".join(parts)
