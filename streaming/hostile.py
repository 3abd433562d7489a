"""Broken and hostile uploads of every kind that data alone can provoke, each with the reason it deserves."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, cycle, islice

import numpy as np
from PIL import Image

from streaming.phones import Fleet
from streaming.record import Header, Upload
from streaming.sources import Item
from streaming.verdict import Reason


@dataclass(frozen=True)
class Hostile:
    """A record that breaks a rule: what goes over the wire, and the reason the hub must give.

    Args:
        expected: None for the first of a pair of duplicates, which is fine by itself.
    """

    key: bytes
    value: bytes | None
    headers: list[Header]
    expected: Reason | None


Maker = Callable[[Upload, int], "list[Hostile]"]


def hostile(count: int, fleet: Fleet, label: str, seed: int = 0) -> Iterator[Hostile]:
    """Broken uploads, kind after kind, until there are `count` of them.

    Args:
        label: a label that is taken, for those whose label is not what is wrong.
        seed: of the pictures that are spoilt.
    """
    return islice(chain.from_iterable(_rounds(fleet, label, seed)), count)


def _rounds(fleet: Fleet, label: str, seed: int) -> Iterator[list[Hostile]]:
    for number, maker in enumerate(cycle(_MAKERS)):
        picture = _picture(seed + number)
        yield maker(fleet.upload(number, Item("hostile.jpg", picture, label)), number // len(_MAKERS))


def _record(upload: Upload, expected: Reason | None) -> Hostile:
    return Hostile(upload.key(), upload.content, upload.headers(), expected)


def _with(upload: Upload, content: bytes, expected: Reason) -> list[Hostile]:
    return [_record(replace(upload, content=content, sha256=None), expected)]


def _with_header(upload: Upload, name: str, value: bytes | None, expected: Reason) -> list[Hostile]:
    headers: list[Header] = [header for header in upload.headers() if header[0] != name]
    if value is not None:
        headers.append((name, value))
    return [Hostile(upload.key(), upload.content, headers, expected)]


def _missing_header(upload: Upload, turn: int) -> list[Hostile]:
    names = ("ce_id", "ce_source", "ce_type", "ce_time", "ce_label")
    return _with_header(upload, names[turn % 5], None, Reason.MISSING_HEADER)


def _bad_header(upload: Upload, turn: int) -> list[Hostile]:
    kinds = (
        ("ce_time", b"last tuesday"),
        ("ce_source", b"\xff\xfe not UTF-8"),
        ("ce_user", b"u" * 100_000),
        ("ce_geo", b"91.0,400.0"),
    )
    return _with_header(upload, *kinds[turn % 4], Reason.BAD_HEADER)


def _bad_label(upload: Upload, turn: int) -> list[Hostile]:
    labels = ("../../etc/passwd", "<script>", "кот", "x" * 70)
    return [_record(replace(upload, label=labels[turn % 4]), Reason.BAD_LABEL)]


def _empty(upload: Upload, turn: int) -> list[Hostile]:
    return _with(upload, b"", Reason.EMPTY)


def _too_large(upload: Upload, turn: int) -> list[Hostile]:
    content = upload.content or b""
    return _with(upload, content + bytes(10 * 2**20 + 1 - len(content)), Reason.TOO_LARGE)


def _checksum_mismatch(upload: Upload, turn: int) -> list[Hostile]:
    return [_record(replace(upload, sha256="00" * 32), Reason.CHECKSUM_MISMATCH)]


def _payload_unreachable(upload: Upload, turn: int) -> list[Hostile]:
    uri = ("file:///etc/passwd", "http://169.254.169.254/latest", "s3://nobody/nothing.jpg")[turn % 3]
    reference = replace(upload, content=None, sha256=None, dataref=uri)
    return [_record(reference, Reason.PAYLOAD_UNREACHABLE)]


def _unsupported_format(upload: Upload, turn: int) -> list[Hostile]:
    others = (_saved("GIF"), b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", _saved("BMP"), b"\x7fELF" + bytes(60))
    return _with(upload, others[turn % 4], Reason.UNSUPPORTED_FORMAT)


def _undecodable(upload: Upload, turn: int) -> list[Hostile]:
    rubbish = np.random.default_rng(turn).integers(0, 256, 3000, np.uint8).tobytes()
    return _with(upload, b"\xff\xd8\xff\xe0" + rubbish + b"\xff\xd9", Reason.UNDECODABLE)


def _truncated(upload: Upload, turn: int) -> list[Hostile]:
    whole = _saved(("JPEG", "PNG", "WEBP")[turn % 3], turn)
    return _with(upload, whole[: len(whole) * 5 // 8], Reason.TRUNCATED)


def _pixel_bomb(upload: Upload, turn: int) -> list[Hostile]:
    """A PNG of a few kilobytes that claims 50,000 x 50,000 pixels."""
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(2**20))), (b"IEND", b""))
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    return _with(upload, content, Reason.PIXEL_BOMB)


def _scan_bomb(upload: Upload, turn: int) -> list[Hostile]:
    """A progressive JPEG whose last scan stands there two thousand times."""
    whole = _saved("JPEG", turn, progressive=True)
    start, end = whole.rindex(b"\xff\xda"), whole.rindex(b"\xff\xd9")
    return _with(upload, whole[:end] + whole[start:end] * 2000 + whole[end:], Reason.SCAN_BOMB)


def _too_small(upload: Upload, turn: int) -> list[Hostile]:
    tiny = Image.open(io.BytesIO(upload.content or b"")).resize((20, 15))
    return _with(upload, _encoded(tiny, "JPEG"), Reason.TOO_SMALL)


def _duplicate_upload(upload: Upload, turn: int) -> list[Hostile]:
    # The first is accepted; under a label of its own it stays out of the pictures that are trained on.
    first = replace(upload, label="quilt")
    return [_record(first, None), _record(first, Reason.DUPLICATE_UPLOAD)]


_MAKERS: tuple[Maker, ...] = (
    _missing_header, _bad_header, _bad_label, _empty, _checksum_mismatch, _payload_unreachable,
    _unsupported_format, _undecodable, _truncated, _pixel_bomb, _scan_bomb, _too_small, _duplicate_upload,
    _too_large,
)  # fmt: skip


def _picture(seed: int) -> bytes:
    return _saved("JPEG", seed, quality=85)


def _saved(kind: str, seed: int = 0, **options: object) -> bytes:
    """Coarse coloured squares, as a phone might photograph a quilt."""
    coarse = np.random.default_rng([7, seed]).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC)
    return _encoded(image, kind, **options)


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
