"""One pass over one picture: bytes in, what the tables need out. Pure: no Spark."""

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

# The hub has its own, smaller limit and states it in the verdict; Pillow's would come as a warning.
Image.MAX_IMAGE_PIXELS = None
# Pillow warns of every damaged EXIF block; strangers' phones would fill the executors' logs with it.
warnings.filterwarnings("ignore", module="PIL")


def prepare(content: bytes, rules: Rules) -> Prepared:
    """Check, decode, turn, shrink, measure and encode one picture.

    Args:
        content: an encoded picture that is neither empty nor too large.

    Raises:
        Rejected: the picture is broken, hostile or useless.
        MemoryError: decoding it takes more memory than there is.
    """
    kind = file_checks.sniff(content, rules.ingest)
    file_checks.check_canvas(content, kind, rules.ingest)
    try:
        prepared = _by_turbo(content, rules) if kind is Format.JPEG else None
        return prepared or _by_pillow(content, kind, rules)
    except (Rejected, MemoryError):
        raise
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from None
        raise Rejected(Reason.UNDECODABLE, quoted(str(error))) from None
    except UnidentifiedImageError:  # its message is an address in memory
        reason = Reason.UNDECODABLE if file_checks.is_complete(content, kind) else Reason.TRUNCATED
        raise Rejected(reason, "its header cannot be read") from None
    except Exception as error:  # whatever hostile bytes lead a parser to is a verdict, never a failed batch
        reason = Reason.UNDECODABLE if file_checks.is_complete(content, kind) else Reason.TRUNCATED
        raise Rejected(reason, quoted(str(error) or type(error).__name__)) from None


def _by_turbo(content: bytes, rules: Rules) -> Prepared | None:
    """A sound JPEG, as nearly all are; None where Pillow has to say what is wrong."""
    size = jpeg_codec.size(content)
    if size is None:
        return None
    file_checks.check_size(*size, rules.ingest)
    file_checks.check_scans(content, rules.ingest)
    rgb = jpeg_codec.decode(content, size, rules.ingest.longest_side)
    if rgb is None:
        return None
    exif, interleaved = jpeg_codec.headers(content)
    if not interleaved:
        truncation.check_components(content)
    return _prepared(rgb, size, _exif(exif), Format.JPEG, rules)


def _by_pillow(content: bytes, kind: Format, rules: Rules) -> Prepared:
    with _opened(content, kind) as image:
        file_checks.check_size(*image.size, rules.ingest)
        if kind is Format.JPEG:
            file_checks.check_scans(content, rules.ingest)
        else:
            file_checks.check_frames(image, rules.ingest)
        file_checks.check_sums(content, kind)
        size = image.size
        rgb = pixels.pixels(image, rules.ingest.longest_side)
        if kind is Format.JPEG:
            truncation.check_jpeg(
                content, rgb, lambda other: pixels.pixels(_opened(other, kind), rules.ingest.longest_side)
            )
        elif kind is Format.PNG:
            truncation.check_png(content, image)
        return _prepared(rgb, size, pixels.exif(image), kind, rules)  # behind a PNG's pixels there may be one


def _opened(content: bytes, kind: Format) -> ImageFile.ImageFile:
    """By the parser of one format only: a file that begins as a JPEG is never tried as anything else."""
    if kind is Format.HEIC:
        import pillow_heif

        pillow_heif.options.DECODE_THREADS = 1
        pillow_heif.register_heif_opener()
        return Image.open(io.BytesIO(content), formats=["HEIF"])
    return Image.open(io.BytesIO(content), formats=[kind.upper()])


def _prepared(
    rgb: RGB, size: tuple[int, int], exif: Image.Exif | None, kind: Format, rules: Rules
) -> Prepared:
    limits = rules.ingest
    turn = pixels.orientation(exif)
    width, height = size if turn < 5 else size[::-1]
    rgb = pixels.oriented(pixels.fit(rgb, limits.longest_side), turn)
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    metrics = quality.measure(rgb, gray, width, height)
    flags = quality.flags(metrics, width, height, rules.quality)
    for flag in flags:
        if flag in rules.quality.reject:
            raise Rejected(Reason(flag), f"{width}x{height}, {metrics}")
    jpeg = pixels.jpeg(rgb, limits.jpeg_quality)
    small = pixels.fit(rgb, limits.thumbnail_side)
    return Prepared(
        format=kind,
        width=width,
        height=height,
        phash=phash(gray),
        flags=tuple(flags),
        metrics=metrics,
        taken_at=_taken_at(exif),
        jpeg=jpeg,
        thumbnail=jpeg if small is rgb else pixels.jpeg(small, limits.jpeg_quality),
    )


def _exif(block: bytes | None) -> Image.Exif | None:
    if block is None:
        return None
    exif = Image.Exif()
    try:
        exif.load(block)
    except Exception:  # damaged EXIF does not make a bad picture, whatever it leads Pillow to
        return None
    return exif


def _taken_at(exif: Image.Exif | None) -> datetime | None:
    if exif is None:
        return None
    try:
        text = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal) or exif.get(
            ExifTags.Base.DateTime
        )
        taken_at = datetime.strptime(str(text).strip("\0 "), "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
    except Exception:  # likewise
        return None
    return taken_at if taken_at.year in YEARS else None
