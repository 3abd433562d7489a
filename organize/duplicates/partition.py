"""Partition of pictures into groups, from pairs of near duplicates: a pure function, whatever their order.

A connected component of such pairs can be a chain whose ends show different things. So a group may only hold
pictures of which every two are near duplicates, or are near duplicates of the same third picture: they are at
most `MAX_HOPS` pairs apart. The pairs join groups from the best score to the worst (complete linkage).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

MAX_HOPS = 2  # pairs between any two pictures of a group


class Pair(NamedTuple):
    """Two near duplicates.

    Args:
        first, second: image ids, first < second.
        score: of the verification; a higher one joins earlier.
    """

    first: str
    second: str
    score: float


@dataclass(frozen=True)
class Partition:
    """Groups of near duplicates.

    Args:
        groups: of two or more images each, sorted; an image is in at most one.
        cut: pairs whose images are in different groups, because joining them would make a chain.
    """

    groups: tuple[tuple[str, ...], ...]
    cut: tuple[Pair, ...]


def partition(pairs: Iterable[Pair]) -> Partition:
    """Divide the images of the pairs into groups.

    The result depends on the set of pairs only, not on their order: ties are broken by image ids. Pairs of
    other connected components do not change it, so a component can be divided again by itself.

    Source: complete linkage, in Kruskal's order of pairs; the distance is the number of pairs on the
    shortest path.
    """
    ordered = sorted(set(pairs), key=lambda pair: (-pair.score, pair.first, pair.second))
    reach = _reach(_neighbours(ordered))
    group_of = {image: image for image in reach}
    members = {image: {image} for image in reach}
    common = {image: set(near) for image, near in reach.items()}  # what all members of a group can reach
    for pair in ordered:
        small, large = sorted(
            (group_of[pair.first], group_of[pair.second]), key=lambda name: len(members[name])
        )
        if small == large or not members[small] <= common[large]:
            continue
        members[large] |= members[small]
        common[large] &= common.pop(small)
        for image in members.pop(small):
            group_of[image] = large
    groups = sorted(tuple(sorted(images)) for images in members.values() if len(images) > 1)
    cut = [pair for pair in ordered if group_of[pair.first] != group_of[pair.second]]
    return Partition(tuple(groups), tuple(sorted(cut)))


def components(pairs: Iterable[Pair]) -> Iterator[list[Pair]]:
    """The pairs of each connected component, ordered by its smallest image id."""
    ordered = sorted(set(pairs))
    neighbours = _neighbours(ordered)
    by_first = defaultdict(list)
    for pair in ordered:
        by_first[pair.first].append(pair)
    seen: set[str] = set()
    for start in sorted(neighbours):
        if start in seen:
            continue
        found, waiting = {start}, [start]
        while waiting:
            new = neighbours[waiting.pop()] - found
            found |= new
            waiting.extend(new)
        seen |= found
        yield sorted(pair for image in found for pair in by_first.get(image, ()))


def _neighbours(pairs: Iterable[Pair]) -> dict[str, set[str]]:
    neighbours: dict[str, set[str]] = defaultdict(set)
    for pair in pairs:
        neighbours[pair.first].add(pair.second)
        neighbours[pair.second].add(pair.first)
    return dict(neighbours)


def _reach(neighbours: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Each image with all images that are at most `MAX_HOPS` pairs away, and itself."""
    step = {image: {image} | near for image, near in neighbours.items()}
    reach = step
    for _ in range(MAX_HOPS - 1):
        reach = {image: set().union(*(step[other] for other in near)) for image, near in reach.items()}
    return reach
