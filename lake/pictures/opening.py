"""Opening of a picture by the parser of its own format, without what no reader needs or trusts."""

import io

import pi_heif
from pi_heif.as_plugin import HeifImageFile
from PIL import AvifImagePlugin, ImageFile, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from lake.errors import TooManyPixels, TruncatedPicture
from lake.pictures import coded_sizes, jpeg_codec, png_chunks
from lake.pictures.formats import Format
from lake.pictures.iso_media import MediaFile

# Parsers, without Pillow's search by content. For a JPEG with several pictures (MPO) the search would take
# another parser, which cannot decode at reduced scale; the first picture is the one that is shown.
_PARSERS: dict[Format, type[ImageFile.ImageFile]] = {
    Format.JPEG: JpegImageFile,
    Format.PNG: PngImageFile,
    Format.WEBP: WebPImageFile,
    Format.HEIC: HeifImageFile,
    Format.AVIF: AvifImagePlugin.AvifImageFile,
}
AvifImagePlugin.DEFAULT_MAX_THREADS = pi_heif.options.DECODE_THREADS = 1  # a Spark task has one core
pi_heif.options.THUMBNAILS = pi_heif.options.DEPTH_IMAGES = pi_heif.options.AUX_IMAGES = False


def open_picture(content: bytes, kind: Format, max_pixels: int) -> ImageFile.ImageFile:
    """Open a picture; its pixels are decoded later, on access.

    Args:
        content: a file of this format.
        kind: its format.
        max_pixels: most pixels that it may state, in any of its headers.

    Raises:
        TooManyPixels: it states more.
        UndecodablePicture: its header says that it is not decoded; TruncatedPicture: its data is missing.
        UnidentifiedImageError: its header cannot be read.
    """
    if kind is Format.JPEG:
        jpeg_codec.check_process(content)
    elif kind is Format.PNG:
        content = png_chunks.without_metadata(content)
    elif kind is Format.WEBP:
        _check_pixels(_webp_canvas(content), max_pixels)
    else:
        content = _checked_media(content, max_pixels)
    try:
        image = _PARSERS[kind](io.BytesIO(content))
    except SyntaxError:  # Pillow's error for a header that it cannot read
        raise UnidentifiedImageError("its header cannot be read") from None
    _check_pixels(image.size, max_pixels)
    return image


def _checked_media(content: bytes, max_pixels: int) -> bytes:
    """Check a HEIC or AVIF; return it without its metadata."""
    media = MediaFile.read(content)
    for size in coded_sizes.stated_sizes(media):
        _check_pixels(size, max_pixels)
    if not media.has_all_data():
        raise TruncatedPicture("the file ends before the data of its items")
    return media.without_metadata()


def _check_pixels(size: tuple[int, int], most: int) -> None:
    width, height = size
    if width * height > most:
        raise TooManyPixels(f"{width}x{height} is {width * height:,} pixels, at most {most:,}")


def _webp_canvas(content: bytes) -> tuple[int, int]:
    """The canvas in a WebP's header, (0, 0) if it is cut: opening the file allocates it.

    Source: https://developers.google.com/speed/webp/docs/riff_container
    """
    chunk, body = content[12:16], content[20:30]
    if len(body) < (5 if chunk == b"VP8L" else 10):
        return 0, 0
    if chunk == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = (int.from_bytes(body[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    return width, height
