"""Build broken and hostile pictures in memory; each variant number gives another picture of the kind."""

import io
import struct
import zlib
from functools import cache

import numpy as np
from PIL import Image

_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF")
_FRAMES = 120  # of a hostile animation
_SCANS = 2000  # of a hostile progressive JPEG


def unsupported(variant: int) -> bytes:
    """Files of other types: unsupported picture formats, documents, programs."""
    kinds = (
        _encoded_image("GIF"),
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj<</Type/Catalog>>endobj\n",
        b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + bytes(200),  # a film, in the container of HEIC and AVIF
        b"PK\x03\x04" + bytes(26) + _encoded_image("JPEG"),  # a zip header, then a picture
        b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        b"\x7fELF\x02\x01\x01" + bytes(57),
        _encoded_image("TIFF"),
        _encoded_image("BMP"),
        b"this is no picture at all\n" * 20,
    )
    return kinds[variant % len(kinds)]


def undecodable(variant: int) -> bytes:
    """Random bytes behind a signature; a wrong checksum; a lossless JPEG; a profile of 100 MB, packed."""
    noise = np.random.default_rng([3, variant]).integers(0, 256, 3000, np.uint8).tobytes()
    frame = bytes(6) + struct.pack("<HH", 160, 120) + noise  # the start code of a VP8 frame is missing
    webp = b"WEBPVP8 " + struct.pack("<I", len(frame)) + frame
    kinds = (
        lambda: b"\xff\xd8\xff\xe0" + noise + b"\xff\xd9",
        lambda: _damaged_png(variant),
        lambda: b"RIFF" + struct.pack("<I", len(webp)) + webp,
        lambda: b"\x89PNG\r\n\x1a\n" + noise + _chunk(b"IEND", b""),
        _profile_bomb,
        lambda: _lossless_jpeg(variant),
        lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic\0\0\0\0mdat" + noise,
    )
    return kinds[variant % len(kinds)]()


def truncated(variant: int) -> bytes:
    """Pictures cut short; some get a valid end, so that a decoder would fill the rest with grey or black."""
    encoded, kind = _encoded_image(_FORMATS[variant % 4], variant), variant % 5
    if kind == 1:
        encoded = _encoded_image("JPEG", variant)
        return encoded[: len(encoded) * 5 // 8] + b"\xff\xd9"
    if kind == 3:
        header = struct.pack(">IIBBBBB", 160, 240, 8, 2, 0, 0, 0)
        encoded = _encoded_image("PNG", variant)
        return encoded[:8] + _chunk(b"IHDR", header) + encoded[33:]
    return encoded[: len(encoded) * (5, 3, 7, 6)[variant % 4] // 8]


def pixel_bomb(variant: int) -> bytes:
    """Pictures of a few kilobytes whose headers claim hundreds of millions of pixels."""
    return (_huge_png, _huge_jpeg, _huge_webp, _huge_avif)[variant % 4]()


@cache
def scan_bomb(variant: int) -> bytes:
    """A progressive JPEG whose last scan is repeated two thousand times, or an animation of many frames."""
    if variant % 2:
        frames = [_image(seed, (40, 40)) for seed in range(_FRAMES)]
        kind = "PNG" if variant % 4 == 1 else "WEBP"
        return _encode(frames[0], kind, save_all=True, append_images=frames[1:])
    encoded = _encoded_image("JPEG", variant, progressive=True)
    start, end = encoded.rindex(b"\xff\xda"), encoded.rindex(b"\xff\xd9")
    return encoded[:end] + encoded[start:end] * _SCANS + encoded[end:]


def tiny(variant: int) -> bytes:
    """Pictures with a side of fewer than 32 pixels."""
    return _encode(_image(variant, ((20, 15), (31, 200), (1, 1))[variant % 3]), _FORMATS[variant % 4])


def padded_jpeg(size: int) -> bytes:
    """A valid JPEG, padded with zeros to this size in bytes."""
    return _encoded_image("JPEG").ljust(size, b"\0")


def _huge_png() -> bytes:
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(2**20))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


def _huge_jpeg() -> bytes:
    encoded = _encoded_image("JPEG")
    frame = encoded.index(b"\xff\xc0")
    return encoded[: frame + 5] + struct.pack(">HH", 65_500, 65_500) + encoded[frame + 9 :]


def _huge_webp() -> bytes:
    side = (16_383).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<I", 10) + bytes(4) + side + side
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def _huge_avif() -> bytes:
    encoded = _encoded_image("AVIF")
    size = encoded.index(b"ispe") + 8
    return encoded[:size] + struct.pack(">II", 65_000, 65_000) + encoded[size + 8 :]


def _lossless_jpeg(variant: int) -> bytes:
    """A JPEG whose frame header says that it is lossless (SOF3)."""
    return _encoded_image("JPEG", variant).replace(b"\xff\xc0", b"\xff\xc3", 1)


def _damaged_png(variant: int) -> bytes:
    """A PNG with one flipped bit in its pixel data."""
    encoded = bytearray(_encoded_image("PNG", variant))
    encoded[encoded.index(b"IDAT") + 100] ^= 0x10
    return bytes(encoded)


@cache
def _profile_bomb() -> bytes:
    encoded = _encoded_image("PNG")
    return encoded[:33] + _chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(100 * 2**20), 9)) + encoded[33:]


def _chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk (ISO/IEC 15948, section 5.3)."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _image(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """A picture of coarse coloured squares."""
    coarse = np.random.default_rng([7, seed]).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def _encoded_image(kind: str, seed: int = 0, **options: object) -> bytes:
    return _encode(_image(seed), kind, **options)


def _encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
