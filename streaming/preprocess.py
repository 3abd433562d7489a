"""One pass over one picture: bytes in, what the tables need out. Pure: no Spark."""

import io
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime

import cv2
from PIL import ExifTags, Image, UnidentifiedImageError

from conf.settings import Ingest
from lake import pixels
from streaming import exhaustion, quality, verify
from streaming.phash import phash
from streaming.quality import Metrics
from streaming.record import YEARS
from streaming.rules import Rules
from streaming.verdict import Reason, Rejected, quoted
from streaming.verify import Format

# The hub has its own, smaller limit and states it in the verdict; Pillow's would come as a warning.
Image.MAX_IMAGE_PIXELS = None
# Pillow warns of every damaged EXIF block; strangers' phones would fill the executors' logs with it.
warnings.filterwarnings("ignore", module="PIL")


@dataclass(frozen=True)
class Prepared:
    """An accepted picture.

    Args:
        format: of the original.
        width, height: of the original, upright, in pixels.
        phash: signed 64-bit perceptual hash.
        flags: names of the quality flags that hold.
        metrics: what the flags were judged by.
        taken_at: EXIF capture time, read as if it were UTC since phones state no zone.
        jpeg, thumbnail: re-encoded pictures without metadata.
    """

    format: Format
    width: int
    height: int
    phash: int
    flags: tuple[str, ...]
    metrics: Metrics
    taken_at: datetime | None
    jpeg: bytes
    thumbnail: bytes


def prepare(content: bytes, rules: Rules) -> Prepared:
    """Check, decode, turn, shrink, measure and encode one picture.

    Args:
        content: an encoded picture that is neither empty nor too large.

    Raises:
        Rejected: the picture is broken, hostile or useless.
    """
    kind = verify.sniff(content, rules.ingest)
    verify.check_canvas(content, kind, rules.ingest)
    try:
        with _opened(content, kind) as image:
            verify.check_size(*image.size, rules.ingest)
            verify.check_scans(content, kind, image, rules.ingest)
            verify.check_sums(content, kind)
            return _prepared(content, image, kind, rules)
    except Rejected:
        raise
    except UnidentifiedImageError:  # its message is an address in memory
        reason = Reason.UNDECODABLE if verify.is_complete(content, kind) else Reason.TRUNCATED
        raise Rejected(reason, "its header cannot be read") from None
    except MemoryError:
        raise Rejected(Reason.UNDECODABLE, "decoding needs more memory than there is") from None
    except Exception as error:  # whatever hostile bytes lead a parser to is a verdict, never a failed batch
        reason = Reason.UNDECODABLE if verify.is_complete(content, kind) else Reason.TRUNCATED
        raise Rejected(reason, quoted(str(error) or type(error).__name__)) from None


def _opened(content: bytes, kind: Format) -> Image.Image:
    """By the parser of one format only: a file that begins as a JPEG is never tried as anything else."""
    if kind is Format.HEIC:
        import pillow_heif

        pillow_heif.options.DECODE_THREADS = 1
        pillow_heif.register_heif_opener()
        return Image.open(io.BytesIO(content), formats=["HEIF"])
    return Image.open(io.BytesIO(content), formats=[kind.upper()])


def _shrunk(image: Image.Image, limits: Ingest) -> pixels.RGB:
    return pixels.fit(pixels.pixels(image, limits.longest_side), limits.longest_side)


def _prepared(content: bytes, image: Image.Image, kind: Format, rules: Rules) -> Prepared:
    limits = rules.ingest
    turn = pixels.orientation(image)
    width, height = image.size if turn < 5 else image.size[::-1]
    taken_at = _taken_at(image)
    stored = _shrunk(image, limits)
    if kind is Format.JPEG:
        exhaustion.check_jpeg(content, stored, lambda other: _shrunk(_opened(other, kind), limits))
    elif kind is Format.PNG:
        exhaustion.check_png(content, image)
    rgb = pixels.oriented(stored, turn)
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
        taken_at=taken_at,
        jpeg=jpeg,
        thumbnail=jpeg if small is rgb else pixels.jpeg(small, limits.jpeg_quality),
    )


def _taken_at(image: Image.Image) -> datetime | None:
    if "exif" not in image.info:
        return None
    try:
        exif = image.getexif()
        text = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal) or exif.get(
            ExifTags.Base.DateTime
        )
        taken_at = datetime.strptime(str(text).strip("\0 "), "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
    except Exception:  # as for the orientation: damaged EXIF does not make a bad picture
        return None
    return taken_at if taken_at.year in YEARS else None
