"""Near duplicates of tiny pictures: what is found of changed copies, and what is grouped without any change.

    python -m benchmarks.organize.tiny_duplicates --archive cifar10-mini.zip [--sheet groups.png]

The pictures of the archive are enlarged for the embedder. Some of them get changed copies: those that people
make (re-encoded, half size, cropped, brighter, mirrored, turned, framed), and those that near duplicates of
CIFAR-10 are: of the same size, with another crop, shift, contrast or hue. Printed is, for each change, the
share of copies whose verified pair with the original is found. A pair of two pictures of the archive is real
or wrong: the contact sheet shows them, the least certain first.
"""

import json
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import click
import cv2
import numpy as np

from conf import settings as hub
from conf.sections import Lake
from lake.pictures import pixels
from models.evaluation.contact_sheet import Line, Section, Tile, draw_sheet
from organize.duplicates.comparison.verification import Match
from organize.features import network_file
from organize.features.embedder import embedder_of
from organize.features.network import load
from tests.organize.duplicates.changed_copies import Picture, find
from tests.support.media import scenes
from tests.support.media.scenes import RGB

_SHOWN = 240  # pairs on the sheet


def _window(rgb: RGB, area: float, aspect: float, seed: int) -> RGB:
    """A part of the picture, stretched to its size."""
    rng = np.random.default_rng(seed)
    height, width = rgb.shape[:2]
    scale = (1 - area) ** 0.5
    rows, columns = min(height, round(height * scale * aspect)), min(width, round(width * scale / aspect))
    top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    part = rgb[top : top + rows, left : left + columns]
    return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def _contrast(rgb: RGB, factor: float) -> RGB:
    mean = rgb.mean()
    return np.clip((rgb - mean) * factor + mean, 0, 255).astype(np.uint8)


def _hue(rgb: RGB, degrees: int) -> RGB:
    values = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)
    values[..., 0] = (values[..., 0].astype(int) + degrees // 2) % 180
    return np.asarray(cv2.cvtColor(values, cv2.COLOR_HSV2RGB), np.uint8)


def _softened(rgb: RGB) -> RGB:
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), 0.7), np.uint8)


_CHANGES: dict[str, Callable[[RGB, int], RGB]] = {
    "q30": lambda rgb, _: scenes.reencoded(rgb),
    "half size": lambda rgb, _: scenes.resized(rgb),
    "crop 4 %": lambda rgb, seed: scenes.cropped(rgb, 0.04, seed),
    "crop 15 %": lambda rgb, seed: scenes.cropped(rgb, 0.15, seed),
    "crop 30 %": lambda rgb, seed: scenes.cropped(rgb, 0.3, seed),
    "lighter": lambda rgb, _: scenes.lit(rgb, 1.1),
    "darker": lambda rgb, _: scenes.lit(rgb, 0.9),
    "mirror": lambda rgb, _: scenes.mirrored(rgb),
    "turn": lambda rgb, _: scenes.turned(rgb),
    "border": lambda rgb, _: scenes.framed(rgb),
    "same size, crop 15 %": lambda rgb, seed: _window(rgb, 0.15, 1.0, seed),
    "same size, crop 30 %": lambda rgb, seed: _window(rgb, 0.3, 1.0, seed),
    "same size, other aspect": lambda rgb, seed: _window(rgb, 0.1, 0.92, seed),
    "contrast": lambda rgb, seed: _contrast(rgb, 1.4 if seed % 2 else 0.7),
    "hue": lambda rgb, seed: _hue(rgb, 30 if seed % 2 else -30),
    "softer": lambda rgb, _: _softened(rgb),
    "crop, contrast, hue": lambda rgb, seed: _hue(_contrast(_window(rgb, 0.15, 1.0, seed), 1.3), 20),
}


@click.command()
@click.option("--archive", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--pictures", "count", type=int, default=2000, show_default=True, help="Of the archive.")
@click.option("--changed", type=int, default=100, show_default=True, help="Of these, with changed copies.")
@click.option("--sheet", type=click.Path(path_type=Path), help="PNG of the pairs of different pictures.")
def main(archive: Path, count: int, changed: int, sheet: Path | None) -> None:
    """Print the shares, one JSON object."""
    with zipfile.ZipFile(archive) as source:
        names = sorted(name for name in source.namelist() if not name.endswith("/"))
        chosen = np.random.default_rng(1).permutation(len(names))[:count]
        originals = [
            Picture(number, "", pixels.decode(source.read(names[row]), 4096))
            for number, row in enumerate(chosen.tolist())
        ]
    copies = [
        Picture(each.number, name, change(each.rgb, each.number))
        for each in originals[:changed]
        for name, change in _CHANGES.items()
    ]
    pictures = [*originals, *copies]
    with tempfile.TemporaryDirectory() as folder:
        settings = hub.load().model_copy(update={"lake": Lake(root=f"{folder}/lake")})
        network = load(network_file.get_or_create(settings, embedder_of(settings)))
        matches = find(pictures, settings, network, Path(folder))
    by_id = {picture.image_id: picture for picture in pictures}
    found, others = Counter[str](), []
    for match in matches:
        one, other = sorted((by_id[match.first], by_id[match.second]), key=lambda each: each.change)
        if one.number != other.number:
            others.append(match)
        elif not one.change:
            found[other.change] += 1
    shares = {name: round(found[name] / changed, 3) for name in _CHANGES}
    of_archive = [match for match in others if not by_id[match.first].change + by_id[match.second].change]
    results = {
        "pictures": len(pictures), "pairs": len(matches), "found": shares,
        "mean": round(float(np.mean(list(shares.values()))), 3),
        "pairs_of_different_pictures": len(others), "of_the_archive_alone": len(of_archive),
    }  # fmt: skip
    print(json.dumps(results, indent=1))
    if sheet is not None:
        sheet.write_bytes(_sheet(sorted(of_archive, key=lambda match: match.significance)[:_SHOWN], by_id))


def _sheet(matches: list[Match], by_id: dict[str, Picture]) -> bytes:
    tiles = []
    for match in matches:
        lines = (Line(match.relation), Line(f"{match.correlation:.2f} {match.significance:.0f}"))
        tiles += [Tile(by_id[name].jpeg(), lines) for name in (match.first, match.second)]
    return draw_sheet("pairs of the archive", "the least certain first", [Section("pairs", tiles)])


if __name__ == "__main__":
    main()
