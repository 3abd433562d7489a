"""Pictures built in code: valid, broken and hostile JPEG, PNG and WebP."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def noise(width: int = 80, height: int = 60, seed: int = 0) -> Image.Image:
    """Blocks of random colours, sharp and bright enough to get no quality flag."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.NEAREST)


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """The bytes of a picture."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(width: int = 80, height: int = 60, seed: int = 0, **options: Any) -> bytes:
    """A valid JPEG."""
    return encoded(noise(width, height, seed), "JPEG", **options)


def separate(image: Image.Image, **options: Any) -> list[bytes]:
    """A non-interleaved JPEG in parts: its headers, the scans of Y, Cb and Cr, its end marker."""
    planes = [encoded(plane, **options) for plane in image.convert("YCbCr").split()]
    frame = planes[0].index(b"\0\x0b\x08")  # SOF of one component; tables and scans follow
    layers = b"".join(bytes((number, 0x11, 0)) for number in (1, 2, 3))
    head = planes[0][:frame] + b"\0\x11" + planes[0][frame + 2 : frame + 7] + b"\3" + layers
    scan = b"\xff\xda\0\x08\1"
    scans = [
        plane[frame + 11 : -2].replace(scan + b"\1", scan + bytes([number]))
        for number, plane in enumerate(planes, start=1)
    ]
    return [head, *scans, b"\xff\xd9"]


def chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk with its checksum (ISO/IEC 15948, section 5.3)."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(
    header: tuple[int, int, int, int],
    raw: bytes,
    interlace: int = 0,
    more: tuple[tuple[bytes, bytes], ...] = (),
) -> bytes:
    """A PNG from a header (width, height, bit depth, colour type), further chunks, and unfiltered rows."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", *header, 0, 0, interlace)),
        *more,
        (b"IDAT", zlib.compress(raw, 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def interlaced(rgb: np.ndarray, passes: int = 7) -> bytes:
    """An interlaced PNG with its first passes of seven (ISO/IEC 15948, section 8.2)."""
    tops, lefts = (0, 0, 4, 0, 2, 0, 1), (0, 4, 0, 2, 0, 1, 0)
    downs, rights = (8, 8, 8, 4, 4, 2, 2), (8, 8, 4, 4, 2, 2, 1)
    rows = b"".join(
        b"\0" + row.tobytes()
        for top, left, down, right in list(zip(tops, lefts, downs, rights, strict=True))[:passes]
        for row in rgb[top::down, left::right]
    )
    return png_of((rgb.shape[1], rgb.shape[0], 8, 2), rows, interlace=1)


def png_with(*chunks: tuple[bytes, bytes]) -> bytes:
    """A valid PNG with further chunks after its header."""
    content = encoded(noise(), "PNG")
    return content[:33] + b"".join(chunk(*each) for each in chunks) + content[33:]


def png_claiming(width: int, height: int) -> bytes:
    """A small PNG whose header claims a size."""
    return png_of((width, height, 8, 2), b"\0" * 4096)


def rows_of_16_bits(values: np.ndarray) -> bytes:
    """16-bit samples as unfiltered PNG rows, for `png_of`."""
    return b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)


def webp_claiming(width: int, height: int) -> bytes:
    """A small WebP (VP8X) whose header claims a canvas, up to 2^24 per side."""
    body = b"\0\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def flat_webp(width: int, height: int) -> bytes:
    """A lossless WebP of one colour, complete in 28 bytes (RFC 9649, section 3).

    Green, red, blue, alpha and distances have a prefix code of one symbol each, so a pixel takes no bit.
    """
    bits = 0x2F | (width - 1) << 8 | (height - 1) << 22
    at = 43  # after zeros: no alpha, version, no transform, no cache, one group of codes
    for _ in range(5):
        bits |= 1 << at  # a simple code with one symbol of one bit: 0
        at += 4
    body = bits.to_bytes((at + 7) // 8, "little")
    body = b"WEBPVP8L" + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def with_scans(content: bytes, scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated until it has this many."""
    start = content.rindex(b"\xff\xda")
    end = content.rindex(b"\xff\xd9")
    present = content.count(b"\xff\xda")
    return content[:end] + content[start:end] * (scans - present) + content[end:]


def halves(top: tuple[int, int, int] = (20, 150, 220), bottom: tuple[int, int, int] = (200, 60, 30)) -> Any:
    """The pixels of a picture of two colours, uint8 (64, 96, 3)."""
    pixels = np.empty((64, 96, 3), np.uint8)
    pixels[:32], pixels[32:] = top, bottom
    return pixels


def ycck(rgb: np.ndarray) -> bytes:
    """A JPEG in YCCK as Adobe's programs write it: inverted ink, the first three channels as YCbCr."""
    ink = np.asarray(Image.fromarray(rgb).convert("CMYK"))
    converted = np.asarray(Image.fromarray(np.ascontiguousarray(ink[..., :3])).convert("YCbCr"))
    # Pillow inverts CMYK when it writes, so the first three channels are inverted before; black is not.
    channels = np.dstack([255 - converted, ink[..., 3]])
    image = Image.frombytes("CMYK", (rgb.shape[1], rgb.shape[0]), channels.tobytes())
    content = bytearray(encoded(image, "JPEG", quality=95))
    marker = content.index(b"Adobe")
    content[marker + 11] = 2  # the transform: YCCK
    return bytes(content)


def with_segment(content: bytes, marker: int, body: bytes) -> bytes:
    """A JPEG with an additional segment after its start marker."""
    return content[:2] + struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body + content[2:]


def tiff(*entries: tuple[int, int, int, bytes], following: int = 0) -> bytes:
    """A little-endian EXIF block of one directory: entries of tag, type, count and four bytes of value."""
    body = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + struct.pack("<I", following)


def upright() -> np.ndarray:
    """The pixels of a picture whose upper left quarter is red."""
    rgb = np.empty((64, 96, 3), np.uint8)
    rgb[:, :] = (30, 90, 160)
    rgb[:32, :48] = (220, 20, 20)
    return rgb


def as_stored(rgb: np.ndarray, orientation: int) -> np.ndarray:
    """The inverse of an EXIF orientation: how a camera stores these pixels."""
    turned = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a),
        7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda a: np.rot90(a, -1),
    }[orientation](rgb)
    return np.ascontiguousarray(turned)


def oriented(orientation: int, kind: str = "JPEG") -> bytes:
    """A picture with an EXIF orientation; upright, its top left quarter is red."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(as_stored(upright(), orientation))
    return encoded(stored, kind, quality=95, exif=exif.tobytes())


def lossless_jpeg(width: int, height: int) -> bytes:
    """A grey lossless JPEG (ITU-T T.81, annex H): each sample is as predicted, which takes one bit."""
    frame = struct.pack(">BHHB", 8, height, width, 3) + b"".join(bytes((part, 0x11, 0)) for part in (1, 2, 3))
    table = bytes((0, 1, *[0] * 15, 0))  # one code of one bit: the difference is 0
    scan = bytes((3, 1, 0, 2, 0, 3, 0, 1, 0, 0))  # predictor 1
    segments = b"".join(
        struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body
        for marker, body in ((0xC3, frame), (0xC4, table), (0xDA, scan))
    )
    return b"\xff\xd8" + segments + bytes(-(-width * height * 3 // 8)) + b"\xff\xd9"


def static(width: int, height: int, seed: int = 0) -> Image.Image:
    """Noise in every pixel, which gives the largest files of a size."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))
