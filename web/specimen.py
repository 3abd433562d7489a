"""Showing a rejected upload without handing its hostile bytes to a browser."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image, ImageFile

from lake.pictures import pixels

_SIDE = 160
_MAX_PIXELS = 64_000_000
_MAX_SCANS = 100
_QUALITY = 85
_HEX_BYTES = 64


@dataclass(frozen=True)
class Specimen:
    """What can be shown of a payload: a re-encoded picture of it, or its first bytes.

    Args:
        jpeg: re-encoded by us; None where nothing can be decoded safely.
        hexdump: lines of its first bytes; empty where there is a picture.
    """

    jpeg: bytes | None
    hexdump: str


def specimen(payload: bytes | None) -> Specimen:
    """Decode what can be decoded, the whole part of a truncated picture too; else show the first bytes."""
    if not payload:
        return Specimen(None, "(no bytes)")
    try:
        return Specimen(_picture(payload), "")
    except Exception:  # the payload was rejected, and anything may be in it; the bytes are shown instead
        return Specimen(None, hexdump(payload[:_HEX_BYTES]))


def hexdump(content: bytes) -> str:
    """Bytes in the layout of `hexdump -C`, without offsets."""
    lines = []
    for start in range(0, len(content), 8):
        row = content[start : start + 8]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{row.hex(' '):<23}  {text}")
    return "\n".join(lines)


def _picture(payload: bytes) -> bytes:
    with Image.open(io.BytesIO(payload), formats=["JPEG", "PNG", "WEBP"]) as image, _truncated_allowed():
        if image.width * image.height > _MAX_PIXELS or getattr(image, "n_frames", 1) > 1:
            raise ValueError("too large to be shown")
        if payload.count(b"\xff\xda") > _MAX_SCANS:
            raise ValueError("too many scans to be shown")
        rgb = pixels.oriented(pixels.pixels(image, _SIDE), pixels.orientation(pixels.exif(image)))
    return pixels.jpeg(pixels.fit(rgb, _SIDE), _QUALITY)


@contextmanager
def _truncated_allowed() -> Iterator[None]:
    """What is missing of a picture stays grey."""
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False
