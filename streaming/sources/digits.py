"""Demo source: scikit-learn's 1,797 scanned digits, rendered like phone photographs.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998; the test part, which
scikit-learn includes (BSD). The rendering is seeded: the same bytes on every run.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from streaming.sources.items import Item, Skipped

_INK = 16.0  # the scans' darkest value
# EXIF orientation → numpy quarter turns of the stored pixels, which the orientation turns upright again.
_QUARTER_TURNS = {1: 0, 3: 2, 6: 1, 8: 3}


@dataclass(frozen=True)
class DigitsSource:
    """The rendered digits.

    Args:
        devices: number of phones; each has its own paper, ink, light and camera settings.
        seed: of the rendering.
    """

    devices: int = 25
    seed: int = 0
    root: str = field(default="", init=False)

    def items(self, skipped: Skipped, names_only: bool = False) -> Iterator[Item]:
        """Render every digit, one at a time."""
        from sklearn.datasets import load_digits

        scans = load_digits()
        phones = [_Phone.of(number, self.seed) for number in range(min(self.devices, len(scans.images)))]
        for number, (scan, digit) in enumerate(zip(scans.images, scans.target, strict=True)):
            phone = phones[number % len(phones)]
            rng = np.random.default_rng([self.seed, number])
            content = b"" if names_only else _photograph(scan, phone, rng)
            yield Item(f"{digit}/{number:04d}.jpg", content, str(digit))


@dataclass(frozen=True)
class _Phone:
    """Properties that all pictures of a phone share."""

    paper: NDArray[np.float32]  # RGB 0-255
    ink: NDArray[np.float32]
    light: tuple[float, float]  # brightness gradient from left to right and from top to bottom
    noise: float  # standard deviation
    orientation: int
    has_gps: bool
    quality: int  # of the JPEG

    @classmethod
    def of(cls, number: int, seed: int) -> "_Phone":
        rng = np.random.default_rng([seed, 1_000_000 + number])
        return cls(
            paper=rng.uniform(165, 250, 3).astype(np.float32),
            ink=rng.uniform(5, 75, 3).astype(np.float32),
            light=(float(rng.uniform(-0.25, 0.25)), float(rng.uniform(-0.25, 0.25))),
            noise=float(rng.uniform(3, 9)),
            orientation=int(rng.choice([1, 1, 1, 6, 8, 3])),
            has_gps=bool(rng.random() < 0.4),
            quality=int(rng.integers(80, 95)),
        )


def _photograph(scan: NDArray[np.float64], phone: _Phone, rng: np.random.Generator) -> bytes:
    width, height = (int(side) for side in rng.integers(96, 161, 2))
    ink = _project(scan, width, height, rng)
    horizontal = phone.light[0] * (np.arange(width, dtype=np.float32) / width - 0.5)
    vertical = phone.light[1] * (np.arange(height, dtype=np.float32) / height - 0.5)
    light = 1 + vertical[:, np.newaxis] + horizontal
    noise = rng.standard_normal((height, width), np.float32) * np.float32(phone.noise)
    # Plane by plane: numpy is slow where the innermost axis has three values.
    planes = [
        np.clip((paper + (pen - paper) * ink) * light + noise, 0, 255).astype(np.uint8)
        for paper, pen in zip(phone.paper, phone.ink, strict=True)
    ]
    upright = cv2.merge(planes)
    stored = np.ascontiguousarray(np.rot90(upright, _QUARTER_TURNS[phone.orientation]))
    buffer = io.BytesIO()
    Image.fromarray(stored).save(buffer, "JPEG", quality=phone.quality, exif=_exif(phone, rng))
    return buffer.getvalue()


def _project(
    scan: NDArray[np.float64], width: int, height: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """The 8x8 scan as ink 0-1 on the sheet: enlarged, slightly rotated, moved and in perspective."""
    side = min(width, height) * rng.uniform(0.72, 0.92)
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    angle = np.deg2rad(rng.uniform(-9, 9))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    margin = min(width, height) - side
    centre = np.array([width, height]) / 2 + margin * rng.uniform(-0.4, 0.4, 2)
    projected = corners @ rotation.T * side + centre + rng.uniform(-0.03, 0.03, (4, 2)) * side
    matrix = cv2.getPerspectiveTransform(
        ((corners + 0.5) * 8 - 0.5).astype(np.float32), projected.astype(np.float32)
    )
    sheet = cv2.warpPerspective(
        (scan / _INK).astype(np.float32), matrix, (width, height), flags=cv2.INTER_CUBIC
    )
    return np.clip(sheet, 0, 1)


def _exif(phone: _Phone, rng: np.random.Generator) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Hub"
    exif[ExifTags.Base.Orientation] = phone.orientation
    taken = f"2026:{rng.integers(1, 13):02d}:{rng.integers(1, 29):02d} {rng.integers(7, 22):02d}:30:00"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = taken
    if phone.has_gps:
        gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
        gps[ExifTags.GPS.GPSLatitudeRef], gps[ExifTags.GPS.GPSLongitudeRef] = "N", "E"
        gps[ExifTags.GPS.GPSLatitude] = (52.0, 31.0, float(rng.integers(0, 60)))
        gps[ExifTags.GPS.GPSLongitude] = (13.0, 24.0, float(rng.integers(0, 60)))
    return exif
