"""Pictures built in code, for tests."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def noise(width: int = 80, height: int = 60, seed: int = 0) -> Image.Image:
    """Smooth colour noise: sharp enough, bright enough, no flag holds."""
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


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 4096)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def webp_claiming(width: int, height: int) -> bytes:
    """A WebP (VP8X) of a few bytes whose header claims any canvas up to 2^24 on a side."""
    body = b"\0\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def with_scans(content: bytes, scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated until it has this many."""
    start = content.rindex(b"\xff\xda")
    end = content.rindex(b"\xff\xd9")
    present = content.count(b"\xff\xda")
    return content[:end] + content[start:end] * (scans - present) + content[end:]


def oriented(orientation: int) -> bytes:
    """A JPEG with a red top left quarter when it is looked at upright, stored under an EXIF orientation."""
    upright = np.zeros((64, 96, 3), np.uint8)
    upright[:, :] = (30, 90, 160)
    upright[:32, :48] = (220, 20, 20)
    # How the pixels must be stored so that the orientation turns them upright (the inverse of each).
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a),
        7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda a: np.rot90(a, -1),
    }[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(Image.fromarray(np.ascontiguousarray(stored)), "JPEG", quality=95, exif=exif)


def static(width: int, height: int, seed: int = 0) -> Image.Image:
    """Noise in every pixel: encodes to as much as a picture of its size can."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))
