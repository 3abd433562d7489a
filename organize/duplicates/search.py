"""Search for the near duplicates of new pictures: candidates by hash and embedding, then verification."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

from organize.duplicates.comparison.verification import LEAST_COARSE, Match, Print, align, compare, likeness
from organize.duplicates.picture_store import PictureStore

Result = TypeVar("Result")
Item = TypeVar("Item")

MAX_CANDIDATES = 100  # of an image; hashes first, as they differ least
_SAME_HASH = 40  # of them by hash
_CHUNK = 2000  # pairs whose prints are in memory at once
_PER_TASK = 50  # pairs that a thread compares before it takes the next ones


@dataclass(frozen=True)
class Found:
    """The result of a search.

    Args:
        matches: pairs whose pixels agree, in the order of their ids.
        compared: number of candidate pairs.
        crowded: number of images with more candidates than are compared.
    """

    matches: list[Match]
    compared: int
    crowded: int


ImagePair = tuple[str, str]  # image ids
Cosines = Callable[[Sequence[ImagePair]], Mapping[ImagePair, float]]  # of the embeddings of pairs


def no_cosines(pairs: Sequence[ImagePair]) -> Mapping[ImagePair, float]:
    """Of images without embeddings."""
    return {}


def search(
    store: PictureStore,
    image_ids: Sequence[str],
    neighbours: Mapping[str, Sequence[str]],
    cosines: Cosines = no_cosines,
) -> Found:
    """Find the near duplicates of images among all stored ones.

    Args:
        store: with the images' prints.
        image_ids: of the new images.
        neighbours: image id to the images with the nearest embeddings, nearest first.
        cosines: of pairs, as far as both images have embeddings.
    """
    pairs: set[tuple[str, str]] = set()
    crowded = 0
    for image_id in image_ids:
        near = store.same_hash(image_id, _SAME_HASH + 1)
        candidates = list(dict.fromkeys([*near[:_SAME_HASH], *neighbours.get(image_id, ())]))
        crowded += len(near) > _SAME_HASH or len(candidates) > MAX_CANDIDATES
        pairs |= {
            (min(image_id, other), max(image_id, other))
            for other in candidates[:MAX_CANDIDATES]
            if other != image_id
        }
    return Found(verify_pairs(store, sorted(pairs), cosines), len(pairs), crowded)


def verify_pairs(
    store: PictureStore, pairs: Sequence[ImagePair], cosines: Cosines = no_cosines
) -> list[Match]:
    """Verify candidate pairs, on all cores: OpenCV works without Python's lock."""
    possible = [match for match in _on_all_cores(store, pairs, compare) if match is not None]
    alike = cosines([(match.first, match.second) for match in possible])
    judged = (match.with_likeness(alike.get((match.first, match.second), 0.0)) for match in possible)
    return [match for match in judged if match is not None]


def significance_of(
    store: PictureStore, pairs: Sequence[ImagePair], cosines: Cosines = no_cosines
) -> dict[ImagePair, float]:
    """The significance of pairs, whatever it is; 0 for those that the coarse search rejects."""
    alike = cosines(pairs)

    def measure(one: Print, other: Print) -> tuple[tuple[str, str], float]:
        found = align(one, other, LEAST_COARSE)
        pair = (one.image_id, other.image_id)
        return pair, found[0].significance + likeness(alike.get(pair, 0.0)) if found else 0.0

    return dict(_on_all_cores(store, pairs, measure))


def _on_all_cores(
    store: PictureStore, pairs: Sequence[tuple[str, str]], compare: Callable[[Print, Print], Result]
) -> Iterator[Result]:
    """The results of a comparison for all pairs whose prints are stored, in their order."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for chunk in _in_parts(pairs, _CHUNK):
            prints = store.prints({image_id for pair in chunk for image_id in pair})
            there = [(prints[a], prints[b]) for a, b in chunk if a in prints and b in prints]

            def compare_all(part: Sequence[tuple[Print, Print]]) -> list[Result]:
                return [compare(one, other) for one, other in part]

            yield from chain.from_iterable(pool.map(compare_all, _in_parts(there, _PER_TASK)))


def _in_parts(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
