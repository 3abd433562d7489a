"""Safe preview of a rejected upload: a re-encoded picture or a hex dump, never the hostile bytes."""

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
class Preview:
    """A payload as a re-encoded picture, or as a hex dump.

    Args:
        jpeg: the re-encoded picture; None if the payload cannot be decoded safely.
        hexdump: of the first bytes; empty if there is a picture.
    """

    jpeg: bytes | None
    hexdump: str


def preview(payload: bytes | None) -> Preview:
    """Decode a payload, also a truncated picture; if this fails, return a hex dump of the first bytes."""
    if not payload:
        return Preview(None, "(no bytes)")
    try:
        return Preview(_picture(payload), "")
    except Exception:  # a rejected payload can raise anything in the decoders
        return Preview(None, hexdump(payload[:_HEX_BYTES]))


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
        rgb = pixels.apply_orientation(
            pixels.load_rgb(image, _SIDE), pixels.orientation(pixels.read_exif(image))
        )
    return pixels.encode_jpeg(pixels.fit(rgb, _SIDE), _QUALITY)


@contextmanager
def _truncated_allowed() -> Iterator[None]:
    """Let Pillow decode truncated pictures; the missing part is grey."""
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False
