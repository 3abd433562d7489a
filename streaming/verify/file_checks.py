"""Checks of a picture's bytes before it is decoded: size, format, scan count and checksums. No Spark."""

import hashlib
import zlib

from PIL import Image

from conf.sections import Ingest
from lake.pictures import formats, jpeg_codec, png_chunks
from lake.pictures.formats import Format
from lake.pictures.iso_media import MediaFile
from streaming.contract.verdict import Reason, Rejected, quoted


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
    kind = formats.detect(content)
    if kind is not None and (kind is not Format.HEIC or limits.heic):
        return kind
    name = formats.name_of(content) or f"starts with {quoted(content[:8])}"
    accepted = [each for each in Format if each is not Format.HEIC or limits.heic]
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


def check_scans(content: bytes, limits: Ingest) -> None:
    """Reject a JPEG with too many scans: decoding makes a full pass over the picture for each scan.

    Raises:
        Rejected: scan_bomb.
    """
    # This count is fast but may be too high; only then are the markers parsed.
    if content.count(b"\xff\xda") > limits.max_scans:
        count = sum(marker == jpeg_codec.START_OF_SCAN for marker, _ in jpeg_codec.markers(content))
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
        Rejected: undecodable.
        TruncatedPicture: it ends before.
    """
    if kind is not Format.PNG:
        return
    view = memoryview(content)
    for name, start, end in png_chunks.chunks(content):
        if zlib.crc32(view[start - 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            title = quoted(name.decode("latin-1"))
            raise Rejected(Reason.UNDECODABLE, f"the checksum of its chunk {title} is wrong")


def is_complete(content: bytes, kind: Format) -> bool:
    """Whether the end of the file is present: distinguishes a truncated upload from a damaged one."""
    if kind is Format.JPEG:
        # Not a search in all bytes: a thumbnail in the EXIF block has its own end marker.
        ends = (marker == jpeg_codec.END_OF_IMAGE for marker, _ in jpeg_codec.markers(content))
        return content.rstrip(b"\0").endswith(b"\xff\xd9") or any(ends)
    if kind is Format.PNG:
        return b"IEND" in content[-64:] or content.rfind(b"IEND\xaeB`\x82") > 0
    if kind is Format.WEBP:
        return len(content) >= 8 + int.from_bytes(content[4:8], "little")
    return MediaFile.read(content).has_all_boxes()
