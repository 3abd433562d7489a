"""Formats of pictures, told by their first bytes; names and content types are not trusted."""

from enum import StrEnum


class Format(StrEnum):
    """The formats that the hub stores and predicts."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    HEIC = "heic"
    AVIF = "avif"


# Endings of their files, in lower case.
SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp",
    ".heic", ".heif", ".hif", ".avif",
})  # fmt: skip
HEAD_BYTES = 16 + 4 * 64  # from which `detect` tells a format

# Brands of stills, of sequences, and of pictures in layers.
# Source: ISO/IEC 23008-12, annex B; AVIF 1.1, section 6.
_BRANDS = {
    Format.HEIC: {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"},
    Format.AVIF: {b"avif", b"avis"},
}

_OTHERS = {
    b"GIF8": "GIF", b"BM": "BMP", b"%PDF": "PDF", b"\x7fELF": "ELF", b"PK\x03\x04": "ZIP", b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF", b"<svg": "SVG", b"<?xml": "XML", b"<!DO": "HTML", b"<htm": "HTML", b"MZ": "EXE",
    b"\x1f\x8b": "gzip", b"\x00\x00\x01\x00": "ICO", b"8BPS": "PSD", b"\x00\x00\x00\x0cjP": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000", b"\x00\x00\x00\x0cJXL ": "JPEG XL", b"\xff\x0a": "JPEG XL",
    b"II\xbc": "JPEG XR",
}  # fmt: skip


def detect(content: bytes) -> Format | None:
    """The format of a picture, or None for any other content."""
    if content.startswith(b"\xff\xd8\xff"):
        return Format.JPEG
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return Format.PNG
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return Format.WEBP
    return _of_brands(content) if content[4:8] == b"ftyp" else None


def _of_brands(content: bytes) -> Format | None:
    """The format of ISO media: the first brand that names a codec. Some, such as mif1, leave it open."""
    stop = min(int.from_bytes(content[:4], "big"), HEAD_BYTES)
    for brand in (content[8:12], *(content[at : at + 4] for at in range(16, stop - 3, 4))):
        for kind, brands in _BRANDS.items():
            if brand in brands:
                return kind
    return None


def name_of(content: bytes) -> str | None:
    """The name of another format or kind of file, or None if it is unknown."""
    if content[4:8] == b"ftyp":
        return f"ISO media ({content[8:12].decode('latin-1')})"
    return next((name for magic, name in _OTHERS.items() if content.startswith(magic)), None)
