"""Pictures for benchmarks: generated noise with structure at every scale, or scaled photographs."""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

_LABELS = 10
_OCTAVE = 60  # standard deviation of the coarsest octave; each finer one has 0.7 of it, as in photographs


@dataclass(frozen=True)
class Kind:
    """A kind of pictures.

    Args:
        name: shown in tables.
        width, height: in pixels.
        ending: jpg or png.
        distinct: number of different pictures.
    """

    name: str
    width: int
    height: int
    ending: str
    distinct: int


def folder_of(kind: Kind, root: Path, photos: Path | None) -> Path:
    """The folder of pictures of a kind, with a subfolder per label; created if it is missing.

    Args:
        photos: a zip of photographs to scale; None generates pictures.
    """
    folder = root / f"{kind.name.replace(' ', '-')}-{'photos' if photos else 'built'}"
    if not folder.is_dir():
        unfinished = folder.with_suffix(".part")
        unfinished.mkdir(parents=True, exist_ok=True)
        source = _photos(photos, kind) if photos else _generate(kind)
        for number, content in enumerate(source):
            path = unfinished / f"label{number % _LABELS}" / f"{number:05d}.{kind.ending}"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        unfinished.rename(folder)
    return folder


def _generate(kind: Kind) -> Iterator[bytes]:
    rng = np.random.default_rng(11)
    for _ in range(kind.distinct):
        picture = np.zeros((kind.height, kind.width, 3), np.float32)
        cells = 2
        while cells <= max(kind.width, kind.height):
            noise = rng.standard_normal((cells, cells, 3), np.float32)
            size = kind.width, kind.height
            picture += cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC) * (_OCTAVE / cells**0.5)
            cells *= 2
        yield _encoded((picture + 128).clip(0, 255).astype(np.uint8), kind)


def _photos(photos: Path, kind: Kind) -> Iterator[bytes]:
    with zipfile.ZipFile(photos) as archive:
        names = [name for name in archive.namelist() if name.lower().endswith((".jpg", ".jpeg"))]
        for name in names[: kind.distinct]:
            with Image.open(io.BytesIO(archive.read(name))) as image:
                rgb = np.asarray(image.convert("RGB"))
            yield _encoded(cv2.resize(rgb, (kind.width, kind.height), interpolation=cv2.INTER_CUBIC), kind)


def _encoded(rgb: np.ndarray, kind: Kind) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, 90] if kind.ending == "jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 3]
    done, content = cv2.imencode(f".{kind.ending}", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    assert done
    return content.tobytes()
