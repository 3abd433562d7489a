"""Benchmark: near duplicates of new pictures against a small and a large store, and beside hashes alone.

    python -m benchmarks.organize.duplicates [--small 100000] [--large 1000000] [--new 10000]

The pictures are synthetic: clouds of random pixels, of which one in twenty has a hash that many share, as
blank walls have. Each new picture is a copy of a stored one and has 30 neighbours, of which 29 are hard
negatives: they go through the coarse search. Printed are the time of search, of reading prints and of
the verification, their ratio, and the candidates of an image.

Quality on changed copies of scenes: verified pairs beside pHash, pairs within 10 bits (imagededup's method
and default). If imagededup is installed (it needs PyTorch), it runs on the same pictures, too.
"""

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path

import click
import cv2
import numpy as np

from organize.duplicates.comparison.picture_square import SIDE, Square, square_of
from organize.duplicates.comparison.verification import Print, verify
from organize.duplicates.hash_bands import bit_difference
from organize.duplicates.picture_store import PictureStore, StoredPicture
from organize.duplicates.search import search
from streaming.verify.phash import phash
from tests.support.media import scenes

_NEIGHBOURS = 30
_CHUNK = 1000  # new pictures that are searched at once
_SHARED_HASHES = 50  # hashes that a twentieth of the pictures have
_HASH_DISTANCE = 10  # bits, imagededup's default
_CHANGES: tuple[Callable[[scenes.RGB], scenes.RGB], ...] = (
    scenes.reencoded, scenes.resized, scenes.mirrored, scenes.turned, scenes.framed,
    lambda rgb: scenes.cropped(rgb, 0.04), lambda rgb: scenes.cropped(rgb, 0.15),
    lambda rgb: scenes.cropped(rgb, 0.3), lambda rgb: scenes.lit(rgb, 1.1), lambda rgb: scenes.lit(rgb, 0.9),
)  # fmt: skip


@click.command()
@click.option("--small", type=int, default=100_000, show_default=True, help="Pictures in the small store.")
@click.option("--large", type=int, default=1_000_000, show_default=True, help="Pictures in the large store.")
@click.option("--new", type=int, default=10_000, show_default=True, help="New pictures.")
@click.option("--scenes", "count", type=int, default=60, show_default=True, help="Scenes beside hashes.")
def main(small: int, large: int, new: int, count: int) -> None:
    """Print the results, one JSON object."""
    with tempfile.TemporaryDirectory() as folder:
        results = {size: _search(Path(folder) / f"{size}.sqlite", size, new) for size in (small, large)}
    ratio = results[large]["seconds"] / results[small]["seconds"]
    print(json.dumps({"search": results, "time_ratio": round(ratio, 3)} | _beside_hashes(count), indent=2))


def _image_id(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def _square(number: int) -> Square:
    """Clouds of random pixels, the same for the same number."""
    noise = np.random.default_rng(number).integers(0, 256, (12, 12), np.uint8)
    return np.asarray(cv2.resize(noise, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), np.uint8)


def _stored(number: int, copy_of: int | None = None) -> StoredPicture:
    source = number if copy_of is None else copy_of
    rng = np.random.default_rng([source, 1])
    low, high = -(2**63), 2**63 - 1
    hashes = [int(value) for value in rng.integers(low, high, 2)]
    if rng.random() < 0.05:
        hashes[0] = int(np.random.default_rng(int(rng.integers(_SHARED_HASHES))).integers(low, high))
    flipped = 0 if copy_of is None else 1 << int(rng.integers(62))
    return StoredPicture(
        Print(_image_id(number), _square(source), (256, 192)), hashes[0] ^ flipped, hashes[1]
    )


def _search(file: Path, size: int, new: int) -> dict[str, float]:
    rng = np.random.default_rng(5)
    with PictureStore(file, 2) as store:
        for first in range(0, size, 10_000):
            store.add(_stored(number) for number in range(first, min(size, first + 10_000)))
        sources = rng.integers(0, size, new)
        store.add(_stored(size + n, int(source)) for n, source in enumerate(sources))
        seconds, compared, found = 0.0, 0, 0
        for first in range(0, new, _CHUNK):
            images = {
                _image_id(size + n): [
                    _image_id(int(sources[n])),
                    *map(_image_id, map(int, rng.integers(0, size, _NEIGHBOURS - 1))),
                ]
                for n in range(first, min(new, first + _CHUNK))
            }
            began = time.perf_counter()
            result = search(store, list(images), images)
            seconds += time.perf_counter() - began
            compared, found = compared + result.compared, found + len(result.matches)
    return {
        "seconds": round(seconds, 2),
        "images_per_second": round(new / seconds, 1),
        "candidates_per_image": round(compared / new, 1),
        "ms_per_pair": round(seconds / compared * 1e3, 3),
        "found": found,
    }


def _beside_hashes(count: int) -> dict[str, object]:
    pictures = list(_pictures(count))
    prints = [
        Print(f"{n:06}", square_of(rgb), (rgb.shape[1], rgb.shape[0])) for n, (_, rgb) in enumerate(pictures)
    ]
    hashes = [phash(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)) for _, rgb in pictures]
    true = [a[0] == b[0] for a, b in combinations(pictures, 2)]
    by_hash = [bit_difference(one, other) <= _HASH_DISTANCE for one, other in combinations(hashes, 2)]
    by_pixels = [
        (match := verify(one, other)) is not None and match.is_near_duplicate()
        for one, other in combinations(prints, 2)
    ]
    return {
        "hash": _quality(true, by_hash),
        "pixels": _quality(true, by_pixels),
        "imagededup": _imagededup([rgb for _, rgb in pictures], true),
    }


def _imagededup(pictures: list[scenes.RGB], true: list[bool]) -> dict[str, float] | str:
    """The quality of `imagededup.methods.PHash`, with its defaults; why it did not run if it is missing."""
    try:
        from imagededup.methods import PHash
    except ImportError as error:
        return f"skipped: {error}; `pip install imagededup` installs it, with PyTorch"
    with tempfile.TemporaryDirectory() as folder:
        names = [f"{number:06}.png" for number in range(len(pictures))]
        for name, rgb in zip(names, pictures, strict=True):
            cv2.imwrite(f"{folder}/{name}", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
        method = PHash(verbose=False)
        found = method.find_duplicates(encoding_map=method.encode_images(folder))
    return _quality(true, [other in found.get(one, ()) for one, other in combinations(names, 2)])


def _pictures(count: int) -> Iterator[tuple[int, scenes.RGB]]:
    """Scenes with a changed copy of each: number of the scene, and picture."""
    for number in range(count):
        rgb = scenes.scene(number)
        yield number, rgb
        yield number, _CHANGES[number % len(_CHANGES)](rgb)


def _quality(true: list[bool], found: list[bool]) -> dict[str, float]:
    right = sum(a and b for a, b in zip(true, found, strict=True))
    precision, recall = right / max(1, sum(found)), right / max(1, sum(true))
    return {"precision": round(precision, 4), "recall": round(recall, 4)}


if __name__ == "__main__":
    main()
