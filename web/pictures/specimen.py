"""Safe preview of a rejected upload: a re-encoded picture or a hex dump, never the hostile bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import ImageFile

from lake.pictures import formats, pixels
from lake.pictures.formats import Format
from lake.pictures.opening import open_picture
from lake.pictures.orientation import orientation_of, turn_upright

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
    kind = formats.detect(payload)
    # The decoders of the other formats are only used in the decoder process, which a picture may crash.
    if kind not in (Format.JPEG, Format.PNG, Format.WEBP):
        raise ValueError("no format that is shown")
    with open_picture(payload, kind, _MAX_PIXELS) as image, _truncated_allowed():
        if getattr(image, "n_frames", 1) > 1 or payload.count(b"\xff\xda") > _MAX_SCANS:
            raise ValueError("too large to be shown")
        rgb = pixels.load_rgb(image, _SIDE)
    rgb = turn_upright(pixels.fit(rgb, _SIDE), orientation_of(payload, kind))
    return pixels.encode_jpeg(rgb, _QUALITY)


@contextmanager
def _truncated_allowed() -> Iterator[None]:
    """Let Pillow decode truncated pictures; the missing part is grey."""
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False
