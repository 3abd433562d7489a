"""Checks of a picture's bytes before it is decoded: size, format, scan count and checksums. No Spark."""

import hashlib
import struct
import zlib
from collections.abc import Iterator
from enum import StrEnum

from PIL import Image

from conf.sections import Ingest
from lake.pictures import jpeg_codec
from streaming.contract.verdict import Reason, Rejected, quoted


class Format(StrEnum):
    """The accepted formats."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    HEIC = "heic"  # only if ingest.heic is set


# Brands of HEVC pictures. Source: ISO/IEC 23008-12, annex B.
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"mif1"}
_UNSUPPORTED_MAGIC = {
    b"GIF8": "GIF", b"BM": "BMP", b"%PDF": "PDF", b"\x7fELF": "ELF", b"PK\x03\x04": "ZIP", b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF", b"<svg": "SVG", b"<?xml": "XML", b"<!DO": "HTML", b"<htm": "HTML", b"MZ": "EXE",
    b"\x1f\x8b": "gzip", b"\x00\x00\x01\x00": "ICO", b"8BPS": "PSD", b"\x00\x00\x00\x0cjP": "JPEG 2000",
}  # fmt: skip


def image_id(content: bytes | memoryview, claimed_sha256: str | None, limits: Ingest) -> str:
    """Check the size and the claimed hash of the content, and return its sha256 (hex).

    Raises:
        Rejected: empty, too_large or checksum_mismatch.
    """
    if not content:
        raise Rejected(Reason.EMPTY, "the value has no bytes")
    if len(content) > limits.max_bytes:
        raise Rejected(Reason.TOO_LARGE, f"{len(content)} bytes, at most {limits.max_bytes} are allowed")
    digest = hashlib.sha256(content).hexdigest()
    if claimed_sha256 is not None and claimed_sha256 != digest:
        raise Rejected(Reason.CHECKSUM_MISMATCH, f"ce_sha256 is {claimed_sha256}, the value's is {digest}")
    return digest


def detect_format(content: bytes, limits: Ingest) -> Format:
    """Detect the format by the magic bytes; the content-type header is not trusted.

    Raises:
        Rejected: unsupported_format.
    """
    if content.startswith(b"\xff\xd8\xff"):
        return Format.JPEG
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return Format.PNG
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return Format.WEBP
    if limits.heic and content[4:8] == b"ftyp" and content[8:12] in _HEIC_BRANDS:
        return Format.HEIC
    names = [name for magic, name in _UNSUPPORTED_MAGIC.items() if content.startswith(magic)]
    if content[4:8] == b"ftyp":
        names = [f"ISO media ({content[8:12].decode('latin-1')})"]
    name = names[0] if names else f"starts with {quoted(content[:8])}"
    accepted = [kind for kind in Format if kind is not Format.HEIC or limits.heic]
    raise Rejected(Reason.UNSUPPORTED_FORMAT, f"{name}; accepted formats: {', '.join(accepted)}")


def check_size(width: int, height: int, limits: Ingest) -> None:
    """Check the width and height from a header against the limits.

    Raises:
        Rejected: pixel_bomb or too_small.
    """
    if width * height > limits.max_pixels:
        raise Rejected(
            Reason.PIXEL_BOMB, f"{width}x{height} is {width * height:,} pixels, at most {limits.max_pixels:,}"
        )
    if min(width, height) < limits.shortest_side:
        raise Rejected(
            Reason.TOO_SMALL, f"{width}x{height}, the shortest side needs {limits.shortest_side} pixels"
        )


def check_webp_canvas(content: bytes, kind: Format, limits: Ingest) -> None:
    """Check the canvas size in a WebP's header before Pillow opens it: opening allocates the canvas.

    Source: https://developers.google.com/speed/webp/docs/riff_container

    Raises:
        Rejected: pixel_bomb.
    """
    if kind is not Format.WEBP:
        return
    chunk, body = content[12:16], content[20:30]
    if len(body) < (5 if chunk == b"VP8L" else 10):
        return
    if chunk == b"VP8X":
        width = 1 + int.from_bytes(body[4:7], "little")
        height = 1 + int.from_bytes(body[7:10], "little")
    elif chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", body, 1)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", body, 6))
    if width * height > limits.max_pixels:
        check_size(width, height, limits)


def check_scans(content: bytes, limits: Ingest) -> None:
    """Reject a JPEG with too many scans: decoding makes a full pass over the picture for each scan.

    Raises:
        Rejected: scan_bomb.
    """
    # This count is fast but may be too high; only then are the markers parsed.
    if content.count(b"\xff\xda") > limits.max_scans:
        count = sum(marker == jpeg_codec.START_OF_SCAN for marker, _ in jpeg_markers(content))
        _refuse_too_many(count, "scans", limits)


def check_frames(image: Image.Image, limits: Ingest) -> None:
    """Reject an animation with too many frames.

    Raises:
        Rejected: scan_bomb.
    """
    _refuse_too_many(getattr(image, "n_frames", 1), "frames", limits)


def _refuse_too_many(count: int, unit: str, limits: Ingest) -> None:
    if count > limits.max_scans:
        raise Rejected(Reason.SCAN_BOMB, f"{count} {unit}, at most {limits.max_scans} are decoded")


def check_png_checksums(content: bytes, kind: Format) -> None:
    """Check the CRC of each PNG chunk, and that IEND exists; decoders ignore the CRCs of pixels.

    Source: ISO/IEC 15948, section 5.3.

    Raises:
        Rejected: truncated or undecodable.
    """
    if kind is not Format.PNG:
        return
    view = memoryview(content)
    for name, start, end in png_chunks(content):
        if zlib.crc32(view[start - 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            title = quoted(name.decode("latin-1"))
            raise Rejected(Reason.UNDECODABLE, f"the checksum of its chunk {title} is wrong")


def png_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the chunks of a PNG up to IEND: name, and start and end of the body.

    Raises:
        Rejected: truncated.
    """
    position, name = 8, b""
    while name != b"IEND":
        if position + 12 > len(content):
            raise Rejected(Reason.TRUNCATED, "it ends without an IEND chunk")
        length, name = struct.unpack_from(">I4s", content, position)
        start, end = position + 8, position + 8 + length
        if end + 4 > len(content):
            title = quoted(name.decode("latin-1"))
            raise Rejected(Reason.TRUNCATED, f"it ends within its chunk {title} of {length:,} bytes")
        yield name, start, end
        position = end + 4


def is_complete(content: bytes, kind: Format) -> bool:
    """Whether the end of the file is present: distinguishes a truncated upload from a damaged one."""
    if kind is Format.JPEG:
        # Not a search in all bytes: a thumbnail in the EXIF block has its own end marker.
        return content.rstrip(b"\0").endswith(b"\xff\xd9") or any(m == 0xD9 for m, _ in jpeg_markers(content))
    if kind is Format.PNG:
        return b"IEND" in content[-64:] or content.rfind(b"IEND\xaeB`\x82") > 0
    if kind is Format.HEIC:
        return _stated_heic_length(content) == len(content)
    return len(content) >= 8 + int.from_bytes(content[4:8], "little")


def _stated_heic_length(content: bytes) -> int:
    """The file length by the sizes in the box headers (ISO/IEC 14496-12, section 4.2)."""
    position = 0
    while position + 8 <= len(content):
        size = int.from_bytes(content[position : position + 4], "big")
        if size < 8:  # up to the end of the file, or a 64-bit size
            return len(content)
        position += size
    return position


def jpeg_markers(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield the markers of a JPEG and their positions, from SOI to EOI, except markers without a length.

    Source: ITU-T T.81, annex B.
    """
    position = 2
    while 0 <= position < len(content) - 1:
        marker = content[position + 1]
        if content[position] != 0xFF or marker in jpeg_codec.STANDALONE_MARKERS:
            position = content.find(b"\xff", position + 1)
            continue
        yield marker, position
        if marker == 0xD9:
            return
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
