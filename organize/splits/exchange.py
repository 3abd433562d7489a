"""Improves assigned splits: units move or change places while labels come nearer to the fractions. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lake.snapshot import Split

Labels = tuple[tuple[str, int], ...]  # label and number of images, sorted

_SPLITS = tuple(Split)
_MAX_CHANGES = 100
_MAX_CLASSES = 300  # of equal units that are compared pair by pair


@dataclass(frozen=True)
class Change:
    """A unit that goes to another split, in exchange for another or None. Equal units are one class.

    Args:
        gain: by how much the sum of squared deviations falls.
    """

    gain: float
    unit: tuple[Labels, int]
    place: int
    back: tuple[Labels, int] | None


def improve(
    places: dict[str, int],
    labels: Mapping[str, Labels],
    lacking: dict[str, list[float]],
    shares: Sequence[float],
) -> None:
    """Change `places` and `lacking` while a label is more than one image off and a change helps.

    Args:
        places: key of each unit to the position of its split; only these units may move.
        labels: key to labels and images.
        lacking: label to the images that each split lacks.
        shares: of the splits; nothing goes to one of 0.
    """
    for _ in range(_MAX_CHANGES):
        off = {label for label, lacks in lacking.items() if max(map(abs, lacks)) > 1 + 1e-9}
        classes: dict[tuple[Labels, int], str] = {}
        for key in sorted(places) if off else ():
            if any(label in off for label, _ in labels[key]):
                classes.setdefault((labels[key], places[key]), key)
        changes = _changes(list(classes)[:_MAX_CLASSES], lacking, shares)
        best = max(changes, key=lambda change: change.gain, default=None)
        if best is None or best.gain <= 1e-9:
            return
        _move(classes[best.unit], best.unit, best.place, places, lacking)
        if best.back is not None:
            _move(classes[best.back], best.back, best.unit[1], places, lacking)


def _changes(
    classes: Sequence[tuple[Labels, int]], lacking: Mapping[str, Sequence[float]], shares: Sequence[float]
) -> Iterator[Change]:
    for unit in classes:
        for place in range(len(_SPLITS)):
            if place == unit[1] or not shares[place]:
                continue
            yield Change(_gain(unit, place, None, lacking), unit, place, None)
            for back in classes:
                if back[1] == place and shares[unit[1]]:
                    yield Change(_gain(unit, place, back, lacking), unit, place, back)


def _gain(
    unit: tuple[Labels, int],
    place: int,
    back: tuple[Labels, int] | None,
    lacking: Mapping[str, Sequence[float]],
) -> float:
    moved = dict(unit[0])
    for label, images in back[0] if back else ():
        moved[label] = moved.get(label, 0) - images
    gain = 0.0
    for label, images in moved.items():
        here, there = lacking[label][unit[1]], lacking[label][place]
        gain += here**2 + there**2 - (here + images) ** 2 - (there - images) ** 2
    return gain


def _move(
    key: str, unit: tuple[Labels, int], place: int, places: dict[str, int], lacking: dict[str, list[float]]
) -> None:
    for label, images in unit[0]:
        lacking[label][unit[1]] += images
        lacking[label][place] -= images
    places[key] = place
