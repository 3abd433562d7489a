"""HEIC and AVIF files built in code, box by box (ISO/IEC 14496-12 and 23008-12)."""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image

from lake.pictures.iso_media import MediaFile
from tests.support import pictures
from tests.support.media import hevc

HEIC, AVIF = (b"heic", b"mif1", b"heic"), (b"avif", b"mif1", b"avif", b"miaf")

SRGB_FULL = b"nclx" + struct.pack(">HHHB", 1, 13, 6, 0x80)  # primaries, transfer, matrix; full range
ALPHA = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha"
IROT, IMIR, ISPE, HVCC, COLR = b"irot", b"imir", b"ispe", b"hvcC", b"colr"
# Boxes that turn a stored picture upright, by the EXIF orientation that says the same: quarter turns to the
# left, then the axis of a mirror (0: up and down, 1: left and right).
_TURNS: dict[int, tuple[int, int | None]] = {
    1: (0, None), 2: (0, 1), 3: (2, None), 4: (0, 0), 5: (1, 0), 6: (3, None), 7: (3, 0), 8: (1, None),
}  # fmt: skip


def box(kind: bytes, *parts: bytes) -> bytes:
    """A box."""
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def full(kind: bytes, *parts: bytes, version: int = 0, flags: int = 0) -> bytes:
    """A box with version and flags."""
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


@dataclass(frozen=True)
class Item:
    """An item of a file: a coded picture, a derived picture or metadata.

    Args:
        kind: four characters, such as hvc1, av01, grid, Exif.
        content: its bytes.
        properties: boxes.
        references: kind of reference, such as dimg or thmb, to the ids it points to. Ids count from 1.
        hidden: the item is only part of another one.
    """

    kind: bytes
    content: bytes
    properties: tuple[bytes, ...] = ()
    references: dict[bytes, tuple[int, ...]] = field(default_factory=dict)
    hidden: bool = False

    def having(self, *boxes: bytes, **changes: Any) -> "Item":
        """The item with further properties and other changes."""
        return replace(self, properties=self.properties + boxes, **changes)


def ispe(width: int, height: int) -> bytes:
    """The property with the size of an item."""
    return full(ISPE, struct.pack(">II", width, height))


def turned(orientation: int) -> tuple[bytes, ...]:
    """The properties for an EXIF orientation."""
    turns, axis = _TURNS[orientation]
    boxes = (box(IROT, bytes([turns])),) if turns else ()
    return boxes if axis is None else (*boxes, box(IMIR, bytes([axis])))


def hevc_item(rgb: Any, depth: int = 8, gray: bool = False) -> Item:
    """A coded picture, uint8 (h, w, 3), without loss but that of 4:2:0."""
    height, width = rgb.shape[:2]
    ycc = np.asarray(Image.fromarray(rgb).convert("YCbCr")).astype(np.uint16) << depth - 8
    planes = [ycc[..., 0]]
    if not gray:
        even = np.pad(ycc, [(0, height % 2), (0, width % 2), (0, 0)], mode="edge")
        planes += [_halved(even[..., channel]) for channel in (1, 2)]
    units = hevc.parameter_sets(width, height, depth, 0 if gray else 1)
    slice_unit = hevc.slice_unit(planes, depth)
    return Item(
        b"hvc1",
        struct.pack(">I", len(slice_unit)) + slice_unit,
        (ispe(width, height), hvcc(units, depth, 0 if gray else 1), box(COLR, SRGB_FULL)),
    )


def _halved(plane: Any) -> Any:
    """The mean of each two by two samples."""
    height, width = plane.shape
    return plane.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3)).round().astype(np.uint16)


def hvcc(units: Sequence[bytes], depth: int = 8, chroma: int = 1) -> bytes:
    """The configuration of an HEVC item (ISO/IEC 14496-15, section 8.3.3.1)."""
    head = bytes((1, 1 if depth == 8 else 2)) + b"\x60\0\0\0" + b"\x90\0\0\0\0\0" + bytes((120,))
    head += b"\xf0\0\xfc" + bytes((0xFC | chroma, 0xF8 | depth - 8, 0xF8 | depth - 8)) + b"\0\0\x0f"
    arrays = b"".join(
        bytes((0x80 | unit[0] >> 1,)) + struct.pack(">HH", 1, len(unit)) + unit for unit in units
    )
    return box(HVCC, head, bytes((len(units),)), arrays)


def grid(tiles: Sequence[Item], rows: int, columns: int, size: tuple[int, int]) -> list[Item]:
    """A picture of tiles, as phones write it: the grid is item 1, its tiles follow."""
    body = struct.pack(">BBBBII", 0, 1, rows - 1, columns - 1, *size)
    whole = Item(b"grid", body, (ispe(*size),), {b"dimg": tuple(range(2, 2 + len(tiles)))})
    return [whole, *(replace(tile, hidden=True) for tile in tiles)]


def exif_item(tiff: bytes, of: int = 1) -> Item:
    """EXIF of an item: four bytes of offset, then the TIFF structure."""
    return Item(b"Exif", struct.pack(">I", 0) + tiff, references={b"cdsc": (of,)}, hidden=True)


def xmp_item(text: bytes, of: int = 1) -> Item:
    """XMP of an item."""
    return Item(b"mime", text, references={b"cdsc": (of,)}, hidden=True)


def auxiliary(item: Item, urn: bytes, of: int = 1) -> Item:
    """An item as auxiliary picture of another: alpha, depth map or gain map."""
    return item.having(full(b"auxC", urn + b"\0"), references={b"auxl": (of,)}, hidden=True)


def avif_item(image: Image.Image, **options: Any) -> Item:
    """A coded picture, as Pillow writes it."""
    content = pictures.encoded(image, "AVIF", **options)
    media = MediaFile.read(content)
    coded = media.items[media.primary]
    boxes = tuple(box(kind, content[start:stop]) for kind, (start, stop) in coded.properties)
    return Item(coded.kind, media.bytes_of(coded), boxes)


def packed(
    items: Iterable[Item], brands: Sequence[bytes] = HEIC, primary: int = 1, data_first: bool = False
) -> bytes:
    """A file of these items.

    Args:
        items: in the order of their ids, from 1.
        brands: the major and the compatible ones.
        primary: id of the picture that is shown.
        data_first: write the contents before what is said about them.
    """
    items = list(items)
    head = box(b"ftyp", brands[0], bytes(4), *brands[1:])
    data = box(b"mdat", *dict.fromkeys(item.content for item in items))
    if data_first:
        return head + data + meta(items, primary, len(head) + 8)
    length = len(meta(items, primary, 0))
    return head + meta(items, primary, len(head) + length + 8) + data


def meta(items: Sequence[Item], primary: int, data: int) -> bytes:
    """The box with all about the items, whose contents follow one another from offset `data`."""
    entries = [
        full(
            b"infe",
            struct.pack(">HH", number, 0),
            item.kind,
            b"\0" + _mime(item),
            version=2,
            flags=item.hidden,
        )
        for number, item in enumerate(items, 1)
    ]
    offsets: dict[bytes, int] = {}
    places, shared = [], list(dict.fromkeys(each for item in items for each in item.properties))
    for number, item in enumerate(items, 1):
        if item.content not in offsets:  # equal contents are stored once
            offsets[item.content], data = data, data + len(item.content)
        places.append(struct.pack(">HHHII", number, 0, 1, offsets[item.content], len(item.content)))
    links = b"".join(
        struct.pack(">HB", number, len(item.properties))
        + bytes(0x80 * (each[4:8] not in (ISPE, COLR)) | shared.index(each) + 1 for each in item.properties)
        for number, item in enumerate(items, 1)
    )
    references = [
        box(kind, struct.pack(f">HH{len(ids)}H", number, len(ids), *ids))
        for number, item in enumerate(items, 1)
        for kind, ids in item.references.items()
    ]
    return full(
        b"meta",
        full(b"hdlr", bytes(4), b"pict", bytes(13)),
        full(b"pitm", struct.pack(">H", primary)),
        full(b"iloc", struct.pack(">HH", 0x4400, len(items)), *places),
        full(b"iinf", struct.pack(">H", len(items)), *entries),
        *([full(b"iref", *references)] if references else []),
        box(b"iprp", box(b"ipco", *shared), full(b"ipma", struct.pack(">I", len(items)), links)),
    )


def _mime(item: Item) -> bytes:
    return b"application/rdf+xml\0" if item.kind == b"mime" else b""


def still(rgb: Any = None, *boxes: bytes, **options: Any) -> bytes:
    """A HEIC of one coded picture, by default of two colours."""
    return packed([hevc_item(pictures.halves() if rgb is None else rgb, **options).having(*boxes)])
