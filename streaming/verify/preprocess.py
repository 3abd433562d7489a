"""Verification and preprocessing of one picture: checks, decoding, metrics, encoding. No Spark."""

import warnings
from datetime import UTC, datetime

import cv2
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from conf.sections import Ingest
from lake.errors import TooManyPixels, TruncatedPicture, UndecodablePicture
from lake.pictures import jpeg_codec, orientation, pixels
from lake.pictures.formats import Format
from lake.pictures.opening import open_picture
from lake.pictures.pixels import RGB
from streaming.contract.record import YEARS
from streaming.contract.rules import Rules
from streaming.contract.verdict import Reason, Rejected, quoted
from streaming.verify import file_checks, quality, truncation
from streaming.verify.phash import phash
from streaming.verify.prepared import Prepared

# The hub checks its own, smaller limit and names it in the verdict; Pillow's limit only causes a warning.
Image.MAX_IMAGE_PIXELS = None
# Pillow and Python load these on first use, but the decoder process may open no file then.
_LOADED = ImageOps, TiffImagePlugin, datetime.strptime("2000", "%Y")
# Pillow warns about every damaged EXIF block, which would fill the executors' logs.
warnings.filterwarnings("ignore", module="PIL")


def prepare(content: bytes, rules: Rules) -> Prepared:
    """Check, decode, rotate, shrink, measure and encode one picture.

    Args:
        content: the encoded picture, already checked by `file_checks.image_id`.

    Raises:
        Rejected: the picture is damaged, hostile, too small, or has a flag of `quality.reject`.
        MemoryError: there is not enough memory to decode it.
    """
    kind = file_checks.detect_format(content, rules.ingest)
    try:
        prepared = _prepare_with_turbo(content, rules) if kind is Format.JPEG else None
        return prepared or _prepare_with_pillow(content, kind, rules)
    except (Rejected, MemoryError):
        raise
    except UndecodablePicture as problem:
        raise Rejected(_reason_of(problem), str(problem)) from None
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from None
        raise Rejected(Reason.UNDECODABLE, quoted(str(error))) from None
    except Exception as error:  # any parser error is a verdict; it must not fail the batch
        reason = Reason.UNDECODABLE if file_checks.is_complete(content, kind) else Reason.TRUNCATED
        detail = (
            str(error)
            if isinstance(error, UnidentifiedImageError)
            else quoted(str(error) or type(error).__name__)
        )
        raise Rejected(reason, detail) from None


def _reason_of(problem: UndecodablePicture) -> Reason:
    if isinstance(problem, TooManyPixels):
        return Reason.PIXEL_BOMB
    return Reason.TRUNCATED if isinstance(problem, TruncatedPicture) else Reason.UNDECODABLE


def _prepare_with_turbo(content: bytes, rules: Rules) -> Prepared | None:
    """Prepare an intact JPEG, as nearly all are; None if Pillow must decode it or find the fault."""
    headers = jpeg_codec.read_headers(content)
    if not headers.is_common:
        return None
    file_checks.check_size(headers.width, headers.height, rules.ingest)
    file_checks.check_scans(content, rules.ingest)
    rgb = jpeg_codec.decode(content, headers, rules.ingest.longest_side)
    if rgb is None:
        return None
    if not headers.interleaved:
        truncation.check_components(content)
    size = headers.width, headers.height
    exif = orientation.without_prefix(headers.exif)
    return _prepare_pixels(rgb, size, orientation.tag_of(exif), exif, Format.JPEG, rules)


def _prepare_with_pillow(content: bytes, kind: Format, rules: Rules) -> Prepared:
    """Prepare a picture of any format, or reject it with the reason."""
    limits = rules.ingest
    with open_picture(content, kind, limits.max_pixels) as image:
        file_checks.check_size(*image.size, limits)
        if kind is Format.JPEG:
            file_checks.check_scans(content, limits)
        else:
            file_checks.check_frames(image, limits)
        file_checks.check_png_checksums(content, kind)
        size = image.size
        rgb = pixels.load_rgb(image, limits.longest_side)
        if kind is Format.JPEG:
            truncation.check_jpeg(content, rgb, lambda other: _decode_jpeg(other, limits))
            rgb = _decode_as_intact(content, rgb, limits)
        elif kind is Format.PNG:
            truncation.check_png(content, image)
    turned = orientation.orientation_of(content, kind)
    return _prepare_pixels(rgb, size, turned, orientation.exif_of(content, kind), kind, rules)


def _decode_jpeg(content: bytes, limits: Ingest) -> RGB:
    with open_picture(content, Format.JPEG, limits.max_pixels) as image:
        return pixels.load_rgb(image, limits.longest_side)


def _decode_as_intact(content: bytes, rgb: RGB, limits: Ingest) -> RGB:
    """The pixels at the scale of intact JPEGs, so that a harmless oddity does not change what is stored.

    Args:
        content: a JPEG without a fault, in which libjpeg-turbo has found something to warn of.
        rgb: its pixels at another scale, for pictures that libjpeg-turbo does not decode.
    """
    headers = jpeg_codec.read_headers(content)
    if not headers.is_common:
        return rgb
    scaled = jpeg_codec.decode(content, headers, limits.longest_side, strict=False)
    return rgb if scaled is None else scaled


def _prepare_pixels(
    rgb: RGB, size: tuple[int, int], turned: int, exif: bytes | None, kind: Format, rules: Rules
) -> Prepared:
    """Turn upright, shrink, measure and encode decoded pixels.

    Args:
        rgb: as stored.
        size: width and height of the original, as stored.
        turned: its orientation, 1 to 8.
        exif: its EXIF.
    """
    limits = rules.ingest
    width, height = size if turned < 5 else size[::-1]
    rgb = orientation.turn_upright(pixels.fit(rgb, limits.longest_side), turned)
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    metrics = quality.measure(rgb, gray, width, height)
    flags = quality.flags(metrics, width, height, rules.quality)
    for flag in flags:
        if flag in rules.quality.reject:
            raise Rejected(flag, f"{width}x{height}, {metrics}")
    jpeg = pixels.encode_jpeg(rgb, limits.jpeg_quality)
    small = pixels.fit(rgb, limits.thumbnail_side)
    return Prepared(
        format=kind,
        width=width,
        height=height,
        phash=phash(gray),
        flags=tuple(flags),
        metrics=metrics,
        taken_at=_capture_time(exif),
        jpeg=jpeg,
        thumbnail=jpeg if small is rgb else pixels.encode_jpeg(small, limits.jpeg_quality),
    )


def _capture_time(block: bytes | None) -> datetime | None:
    if block is None:
        return None
    exif = Image.Exif()
    try:
        exif.load(block)
        text = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal) or exif.get(
            ExifTags.Base.DateTime
        )
        taken_at = datetime.strptime(str(text).strip("\0 "), "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
    except Exception:  # a picture is not rejected for damaged EXIF, whatever error Pillow raises
        return None
    return taken_at if taken_at.year in YEARS else None
