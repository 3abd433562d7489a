"""What EXIF and others say about the orientation of a picture, and what is right: the rule of browsers."""

import struct
from dataclasses import dataclass

import numpy as np
from PIL import Image

from tests.support import pictures

ORIENTATION, MAKER = 0x0112, 0x010F
BYTE, ASCII, SHORT, LONG, RATIONAL, SBYTE, UNDEFINED, SSHORT, SLONG, SRATIONAL, FLOAT, DOUBLE, IFD = range(
    1, 14
)
_LAYOUTS = {
    BYTE: "B", SHORT: "H", LONG: "I", RATIONAL: "II", SBYTE: "b", UNDEFINED: "B", SSHORT: "h", SLONG: "i",
    SRATIONAL: "ii", FLOAT: "f", DOUBLE: "d", IFD: "I",
}  # fmt: skip
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="6">'
    b"<tiff:Orientation>6</tiff:Orientation></rdf:Description></rdf:RDF></x:xmpmeta>"
)


@dataclass(frozen=True)
class Told:
    """An EXIF block and the orientation that it says.

    Args:
        block: a TIFF structure.
        orientation: 1 to 8.
    """

    block: bytes
    orientation: int


def tiff(order: str, *entries: tuple[int, int, int, bytes], start: int = 8, magic: int = 42) -> bytes:
    """A TIFF structure of one directory; values of more than four bytes are behind it.

    Args:
        order: `<` or `>`.
        entries: tag, type, count and value in this order of bytes.
        start: of the directory.
    """
    behind = start + 2 + 12 * len(entries) + 4
    parts, extra = [], b""
    for tag, kind, count, value in entries:
        if len(value) > 4:
            place, extra = struct.pack(f"{order}I", behind + len(extra)), extra + value
            value = place
        parts.append(struct.pack(f"{order}HHI", tag, kind, count) + value.ljust(4, b"\0"))
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", magic, start)
    size = struct.pack(f"{order}H", len(entries))
    return head.ljust(start, b"\0") + size + b"".join(parts) + bytes(4) + extra


def entry(order: str, value: float, kind: int = SHORT, count: int = 1) -> tuple[int, int, int, bytes]:
    """The entry of an orientation, of any numeric type."""
    layout = _LAYOUTS[kind]
    numbers = (value, 1) if len(layout) == 2 else (value,)
    return ORIENTATION, kind, count, struct.pack(order + layout, *numbers) * count


def told() -> dict[str, Told]:
    """All cases by name."""
    cases: dict[str, Told] = {}
    for order, name in (("<", "little"), (">", "big")):
        first = (MAKER, ASCII, 6, b"Maker\0")
        for kind in _LAYOUTS:
            cases[f"{name}-type-{kind}"] = Told(tiff(order, first, entry(order, 6, kind)), 6)
        for value in range(1, 9):
            cases[f"{name}-value-{value}"] = Told(tiff(order, entry(order, value)), value)
        cases |= {
            f"{name}-far-directory": Told(tiff(order, first, entry(order, 8), start=500), 8),
            f"{name}-second-of-two": Told(tiff(order, entry(order, 3), entry(order, 6)), 3),
            f"{name}-zero": Told(tiff(order, entry(order, 0)), 1),
            f"{name}-nine": Told(tiff(order, entry(order, 9)), 1),
            f"{name}-large": Told(tiff(order, entry(order, 6 + 65_536, LONG)), 1),
            f"{name}-negative": Told(tiff(order, entry(order, -6, SLONG)), 1),
            f"{name}-between": Told(tiff(order, entry(order, 6.5, FLOAT)), 1),
            f"{name}-not-a-number": Told(tiff(order, entry(order, float("nan"), DOUBLE)), 1),
            f"{name}-two-values": Told(tiff(order, entry(order, 6, SHORT, 2)), 1),
            f"{name}-text": Told(tiff(order, (ORIENTATION, ASCII, 4, b"six\0")), 1),
            f"{name}-unknown-type": Told(tiff(order, (ORIENTATION, 250, 1, b"\6\0\0\6")), 1),
            f"{name}-other-tag": Told(tiff(order, (0x0113, SHORT, 1, b"\6\0\0\6")), 1),
            f"{name}-no-tiff": Told(tiff(order, entry(order, 6), magic=43), 1),
            f"{name}-division-by-zero": Told(tiff(order, (ORIENTATION, RATIONAL, 1, bytes(8))), 1),
        }
    good = tiff("<", entry("<", 6))
    cases |= {
        "prefix-twice": Told(b"Exif\0\0" + good, 6),
        "nothing": Told(b"", 1),
        "rubbish": Told(b"rubbish", 1),
        "directory-beyond-the-end": Told(b"II*\0\xff\xff\xff\xff", 1),
        "value-beyond-the-end": Told(tiff("<", (ORIENTATION, DOUBLE, 1, b"\xff" * 4)), 1),
        "cut-in-the-entry": Told(good[:16], 1),
        "cut-behind-the-value": Told(good[:20], 1),
        "more-entries-than-bytes": Told(good[:8] + b"\xff\xff" + good[10:], 6),
    }
    return cases


def picture(kind: str, told: Told, xmp: bytes = b"") -> bytes:
    """A picture that is upright once it is turned as EXIF says: its upper left quarter is red.

    Args:
        kind: JPEG, PNG or WEBP.
        told: the orientation.
        xmp: says something else.
    """
    stored = Image.fromarray(pictures.as_stored(pictures.upright(), told.orientation))
    block = b"Exif\0\0" + told.block
    if kind == "JPEG":
        content = pictures.encoded(stored, quality=95)
        if xmp:
            content = pictures.with_segment(content, 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp)
        return pictures.with_segment(content, 0xE1, block)
    if kind == "PNG":
        text = pictures.chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp) if xmp else b""
        content = pictures.encoded(stored, "PNG")
        return content[:33] + pictures.chunk(b"eXIf", told.block) + text + content[33:]
    return pictures.encoded(stored, "WEBP", lossless=True, exif=block, xmp=xmp)


def is_upright(rgb: np.ndarray) -> bool:
    """Whether only the upper left quarter of a picture of any size is red."""
    height, width = rgb.shape[:2]
    red = rgb[..., 0].astype(int) > 125
    quarter = np.zeros((height, width), bool)
    quarter[: height // 2, : width // 2] = True
    return bool((red == quarter).mean() > 0.95)
