"""Broken and hostile pictures, built in memory; each turn gives another one of its kind."""

import io
import struct
import zlib
from functools import cache

import numpy as np
from PIL import Image

_KINDS = ("JPEG", "PNG", "WEBP")
_FRAMES = 120
_SCANS = 2000


def unsupported(turn: int) -> bytes:
    """Files of other kinds: pictures that are not taken, documents, programs."""
    kinds = (
        _saved("GIF"),
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj<</Type/Catalog>>endobj\n",
        b"\0\0\0\x18ftypavif\0\0\0\0mif1avif" + bytes(200),  # HEIC may be taken
        b"PK\x03\x04" + bytes(26) + _saved("JPEG"),  # an archive with a picture behind its beginning
        b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        b"\x7fELF\x02\x01\x01" + bytes(57),
        _saved("TIFF"),
        _saved("BMP"),
        b"this is no picture at all\n" * 20,
    )
    return kinds[turn % len(kinds)]


def rubbish(turn: int) -> bytes:
    """Random bytes in a picture's clothes; a wrong checksum; a profile that inflates to 100 MB."""
    noise = np.random.default_rng([3, turn]).integers(0, 256, 3000, np.uint8).tobytes()
    frame = bytes(6) + struct.pack("<HH", 160, 120) + noise  # without the start code of a VP8 frame
    webp = b"WEBPVP8 " + struct.pack("<I", len(frame)) + frame
    kinds = (
        lambda: b"\xff\xd8\xff\xe0" + noise + b"\xff\xd9",
        lambda: _damaged_png(turn),
        lambda: b"RIFF" + struct.pack("<I", len(webp)) + webp,
        lambda: b"\x89PNG\r\n\x1a\n" + noise + _chunk(b"IEND", b""),
        _profile_bomb,
    )
    return kinds[turn % len(kinds)]()


def truncated(turn: int) -> bytes:
    """Pictures that end early; some are closed again, so that a decoder would fill in grey or black."""
    whole, kind = _saved(_KINDS[turn % 3], turn), turn % 5
    if kind == 1:
        whole = _saved("JPEG", turn)
        return whole[: len(whole) * 5 // 8] + b"\xff\xd9"
    if kind == 3:
        header = struct.pack(">IIBBBBB", 160, 240, 8, 2, 0, 0, 0)
        whole = _saved("PNG", turn)
        return whole[:8] + _chunk(b"IHDR", header) + whole[33:]
    return whole[: len(whole) * (5, 3, 7, 6)[turn % 4] // 8]


def pixel_bomb(turn: int) -> bytes:
    """Pictures of a few kilobytes that claim hundreds of millions of pixels."""
    return (_vast_png, _vast_jpeg, _vast_webp)[turn % 3]()


@cache
def scan_bomb(turn: int) -> bytes:
    """A progressive JPEG whose last scan stands there two thousand times, or an animation of many frames."""
    if turn % 2:
        frames = [_picture(seed, (40, 40)) for seed in range(_FRAMES)]
        kind = "PNG" if turn % 4 == 1 else "WEBP"
        return _encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    whole = _saved("JPEG", turn, progressive=True)
    start, end = whole.rindex(b"\xff\xda"), whole.rindex(b"\xff\xd9")
    return whole[:end] + whole[start:end] * _SCANS + whole[end:]


def tiny(turn: int) -> bytes:
    """Pictures with a side of fewer than 32 pixels."""
    return _encoded(_picture(turn, ((20, 15), (31, 200), (1, 1))[turn % 3]), _KINDS[turn % 3])


def padded(size: int) -> bytes:
    """A sound JPEG with zeros behind its end, up to this many bytes."""
    return _saved("JPEG").ljust(size, b"\0")


def _vast_png() -> bytes:
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(2**20))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


def _vast_jpeg() -> bytes:
    whole = _saved("JPEG")
    frame = whole.index(b"\xff\xc0")
    return whole[: frame + 5] + struct.pack(">HH", 65_500, 65_500) + whole[frame + 9 :]


def _vast_webp() -> bytes:
    side = (16_383).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<I", 10) + bytes(4) + side + side
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def _damaged_png(turn: int) -> bytes:
    """One bit of its pixels is another."""
    whole = bytearray(_saved("PNG", turn))
    whole[whole.index(b"IDAT") + 100] ^= 0x10
    return bytes(whole)


@cache
def _profile_bomb() -> bytes:
    whole = _saved("PNG")
    return whole[:33] + _chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(100 * 2**20), 9)) + whole[33:]


def _chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk (ISO/IEC 15948, section 5.3)."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _picture(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """Coarse coloured squares, as a phone might photograph a quilt."""
    coarse = np.random.default_rng([7, seed]).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def _saved(kind: str, seed: int = 0, **options: object) -> bytes:
    return _encoded(_picture(seed), kind, **options)


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
