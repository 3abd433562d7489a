"""Verification and preprocessing of one picture: checks, decoding, metrics, encoding. No Spark."""

import io
import warnings
from datetime import UTC, datetime

import cv2
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from lake.pictures import jpeg_codec, pixels
from lake.pictures.pixels import RGB
from streaming.contract.record import YEARS
from streaming.contract.rules import Rules
from streaming.contract.verdict import Reason, Rejected, quoted
from streaming.verify import file_checks, quality, truncation
from streaming.verify.file_checks import Format
from streaming.verify.phash import phash
from streaming.verify.prepared import Prepared

# The hub checks its own, smaller limit and names it in the verdict; Pillow's limit only causes a warning.
Image.MAX_IMAGE_PIXELS = None
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
    file_checks.check_webp_canvas(content, kind, rules.ingest)
    try:
        prepared = _prepare_with_turbo(content, rules) if kind is Format.JPEG else None
        return prepared or _prepare_with_pillow(content, kind, rules)
    except (Rejected, MemoryError):
        raise
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from None
        raise Rejected(Reason.UNDECODABLE, quoted(str(error))) from None
    except UnidentifiedImageError:  # its message is only a memory address
        reason = Reason.UNDECODABLE if file_checks.is_complete(content, kind) else Reason.TRUNCATED
        raise Rejected(reason, "its header cannot be read") from None
    except Exception as error:  # any parser error is a verdict; it must not fail the batch
        reason = Reason.UNDECODABLE if file_checks.is_complete(content, kind) else Reason.TRUNCATED
        raise Rejected(reason, quoted(str(error) or type(error).__name__)) from None


def _prepare_with_turbo(content: bytes, rules: Rules) -> Prepared | None:
    """Prepare an intact JPEG, as nearly all are; None if Pillow must decode it or find the fault."""
    size = jpeg_codec.read_size(content)
    if size is None:
        return None
    file_checks.check_size(*size, rules.ingest)
    file_checks.check_scans(content, rules.ingest)
    rgb = jpeg_codec.decode(content, size, rules.ingest.longest_side)
    if rgb is None:
        return None
    exif, interleaved = jpeg_codec.read_headers(content)
    if not interleaved:
        truncation.check_components(content)
    return _prepare_pixels(rgb, size, _parse_exif(exif), Format.JPEG, rules)


def _prepare_with_pillow(content: bytes, kind: Format, rules: Rules) -> Prepared:
    """Prepare a picture of any format, or reject it with the reason."""
    with _open_image(content, kind) as image:
        file_checks.check_size(*image.size, rules.ingest)
        if kind is Format.JPEG:
            file_checks.check_scans(content, rules.ingest)
        else:
            file_checks.check_frames(image, rules.ingest)
        file_checks.check_png_checksums(content, kind)
        size = image.size
        rgb = pixels.load_rgb(image, rules.ingest.longest_side)
        if kind is Format.JPEG:
            truncation.check_jpeg(
                content,
                rgb,
                lambda other: pixels.load_rgb(_open_image(other, kind), rules.ingest.longest_side),
            )
        elif kind is Format.PNG:
            truncation.check_png(content, image)
        exif = pixels.read_exif(image)  # read last: in a PNG it may come after the pixels
        return _prepare_pixels(rgb, size, exif, kind, rules)


def _open_image(content: bytes, kind: Format) -> ImageFile.ImageFile:
    """Open with the parser of this format only: Pillow must not try other formats."""
    if kind is Format.HEIC:
        import pillow_heif

        pillow_heif.options.DECODE_THREADS = 1
        pillow_heif.register_heif_opener()
        return Image.open(io.BytesIO(content), formats=["HEIF"])
    return Image.open(io.BytesIO(content), formats=[kind.upper()])


def _prepare_pixels(
    rgb: RGB, size: tuple[int, int], exif: Image.Exif | None, kind: Format, rules: Rules
) -> Prepared:
    """Rotate, shrink, measure and encode decoded pixels; `size` is the width and height of the original."""
    limits = rules.ingest
    orientation = pixels.orientation(exif)
    width, height = size if orientation < 5 else size[::-1]
    rgb = pixels.apply_orientation(pixels.fit(rgb, limits.longest_side), orientation)
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


def _parse_exif(block: bytes | None) -> Image.Exif | None:
    if block is None:
        return None
    exif = Image.Exif()
    try:
        exif.load(block)
    except Exception:  # a picture is not rejected for damaged EXIF, whatever error Pillow raises
        return None
    return exif


def _capture_time(exif: Image.Exif | None) -> datetime | None:
    if exif is None:
        return None
    try:
        text = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal) or exif.get(
            ExifTags.Base.DateTime
        )
        taken_at = datetime.strptime(str(text).strip("\0 "), "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
    except Exception:  # as in `_parse_exif`
        return None
    return taken_at if taken_at.year in YEARS else None
