"""Balanced splits: what stays together gets a split, and each label the requested fractions. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lake.snapshot import Split
from organize.splits.exchange import improve
from organize.splits.fractions import Fractions, point

Counts = Mapping[str, Mapping[Split, int]]  # label to split to images

_SPLITS = tuple(Split)
_DIGITS = 9  # sums of fractions that differ by less are equal


@dataclass(frozen=True)
class Unit:
    """Images that stay in one split: a group of near duplicates, or all groups of a user, device or batch.

    Args:
        key: the smallest image id in it, which does not depend on names of groups.
        labels: label to number of images that a dataset may contain: none that is in another split.
        remembered: split to number of images that were assigned to it before.
    """

    key: str
    labels: Mapping[str, int]
    remembered: Mapping[Split, int]


def kept_split(remembered: Mapping[Split, int]) -> Split | None:
    """The split of a unit whose images have splits: that of most images, the first of `Split` if equal.

    Images keep the split that they have. Those in another split than their unit are left out of datasets: one
    that was trained on is never tested on, and its near duplicates are not tested beside it.

    Returns:
        None if no image has a split.
    """
    best = max(_SPLITS, key=lambda split: remembered.get(split, 0))  # the first of the largest
    return best if remembered.get(best, 0) else None


def split_units(units: Iterable[Unit], fractions: Fractions, seed: int) -> dict[str, Split]:
    """The split of each unit: the remembered one, or else a new one that balances the labels.

    Returns:
        key of each unit with usable or remembered images to its split.
    """
    kept: dict[str, Split] = {}
    new = []
    counts: dict[str, dict[Split, int]] = {}
    for unit in units:
        split = kept_split(unit.remembered)
        if split is None:
            new.append(unit)
            continue
        kept[unit.key] = split
        for label, images in unit.labels.items():
            by_split = counts.setdefault(label, {})
            by_split[split] = by_split.get(split, 0) + images
    return kept | assign(new, counts, fractions, seed)


def assign(new: Iterable[Unit], counts: Counts, fractions: Fractions, seed: int) -> dict[str, Split]:
    """Assign new units to splits, so that the images of each label come near to the fractions.

    Greedy, the largest unit first, in an order that the seed shuffles among equal sizes. A unit goes to a
    split whose lack it does not exceed, of these to that which lacks the largest share of its images: so
    groups are in all splits, not only in the largest. If it exceeds the lack of every split, it goes to the
    split that lacks most images. Units of one image come last and fill what is left. Where a label is then
    more than one image off, units change places (`organize.splits.exchange`). The order of the arguments does
    not matter.

    Args:
        new: units without a split; those without usable images get none.
        counts: images that have splits.
        fractions: of train, validation and test, summing to 1.
        seed: of the order.

    Returns:
        key of each unit to its split.
    """
    usable = [unit for unit in new if unit.labels]
    lacking = _lacking(usable, counts, fractions)
    ordered = sorted(usable, key=lambda unit: (-sum(unit.labels.values()), point(unit.key, seed), unit.key))
    places: dict[str, int] = {}
    for unit in ordered:
        places[unit.key] = place = _place(unit, lacking, fractions)
        for label, images in unit.labels.items():
            lacking[label][place] -= images
    improve(places, {unit.key: tuple(sorted(unit.labels.items())) for unit in usable}, lacking, fractions)
    return {key: _SPLITS[place] for key, place in places.items()}


def _place(unit: Unit, lacking: Mapping[str, list[float]], fractions: Fractions) -> int:
    """The position of the split that a new unit goes to; the first if several are equally good."""
    lacks = [
        round(sum(images * lacking[label][place] for label, images in unit.labels.items()), _DIGITS)
        for place in range(len(_SPLITS))
    ]
    fitting = [
        place
        for place, share in enumerate(fractions)
        if share and all(round(lacking[label][place] - n, _DIGITS) >= 0 for label, n in unit.labels.items())
    ]
    if fitting:
        return max(fitting, key=lambda place: round(lacks[place] / fractions[place], _DIGITS))
    return lacks.index(max(lacks))


def _lacking(units: Iterable[Unit], counts: Counts, fractions: Fractions) -> dict[str, list[float]]:
    """Label to the images that each split lacks; negative where it has too many."""
    totals = {label: sum(by_split.values()) for label, by_split in counts.items()}
    for unit in units:
        for label, images in unit.labels.items():
            totals[label] = totals.get(label, 0) + images
    return {
        label: [
            share * total - counts.get(label, {}).get(split, 0)
            for split, share in zip(_SPLITS, fractions, strict=True)
        ]
        for label, total in totals.items()
    }
