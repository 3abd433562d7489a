"""Which pictures would help most: labels that are nearly ready, short in a split, confused or watched."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from lake.snapshot import Split
from organize.wanted.overview import LabelCounts

NEARLY = 0.5  # share of the needed images from which a label is nearly ready
SHORT = 0.5  # share of the images that a split should have, below which it is short
CONFUSED = 0.1  # share of a label's test pictures that are taken for one other label
MIN_TEST = 5  # test pictures of a label, below which its confusion says nothing


class Need(StrEnum):
    """Why pictures of a label are wanted."""

    WATCHED = "watched"
    NEARLY_READY = "nearly_ready"
    SHORT_SPLIT = "short_split"
    CONFUSED = "confused"


@dataclass(frozen=True)
class Wanted:
    """A wish for pictures.

    Args:
        label: slug.
        need: why.
        images: how many more would help; None where nobody can say.
        detail: the reason in words.
        watchers: users who wait for the label.
    """

    label: str
    need: Need
    images: int | None
    detail: str
    watchers: Sequence[str] = ()


@dataclass(frozen=True)
class Confusion:
    """A model's confusion on its test split: rows are true labels, columns predicted ones."""

    model_id: str
    labels: Sequence[str]
    counts: Sequence[Sequence[int]]


def wanted(
    labels: Iterable[LabelCounts],
    ready_images: int,
    fractions: Sequence[float],
    confusion: Confusion | None,
) -> list[Wanted]:
    """What is wanted, most urgent first: by need, then by the fewest missing images.

    Args:
        labels: of the lake.
        ready_images: images that a label needs.
        fractions: of train, validation and test.
        confusion: of the newest model; None if there is none.
    """
    counted = list(labels)
    found = [
        *_watched(counted, ready_images),
        *_nearly_ready(counted, ready_images),
        *_short_in_a_split(counted, fractions),
        *(_confused(counted, confusion) if confusion else ()),
    ]
    needs = list(Need)
    return sorted(found, key=lambda each: (needs.index(each.need), each.images or 0, each.label))


def _watched(labels: Iterable[LabelCounts], ready_images: int) -> Iterable[Wanted]:
    for label in labels:
        if label.watchers and not label.ready:
            missing = ready_images - label.images
            detail = f"{len(label.watchers)} waiting; it has {label.images:,} of {ready_images:,} images"
            yield Wanted(label.label, Need.WATCHED, missing, detail, label.watchers)


def _nearly_ready(labels: Iterable[LabelCounts], ready_images: int) -> Iterable[Wanted]:
    for label in labels:
        if not label.ready and not label.watchers and label.images >= NEARLY * ready_images:
            detail = f"it has {label.images:,} of {ready_images:,} images"
            yield Wanted(label.label, Need.NEARLY_READY, ready_images - label.images, detail)


def _short_in_a_split(labels: Iterable[LabelCounts], fractions: Sequence[float]) -> Iterable[Wanted]:
    for label in labels:
        total = sum(label.splits.values())
        if not label.ready or not total:
            continue
        for split, fraction in zip(Split, fractions, strict=True):
            expected = fraction * total
            have = label.splits.get(split.value, 0)
            if expected >= 1 and have < SHORT * expected:
                missing = round(expected) - have
                detail = f"{split.value} has {have:,} of about {round(expected):,} images"
                yield Wanted(label.label, Need.SHORT_SPLIT, missing, detail, label.watchers)


def _confused(labels: Iterable[LabelCounts], confusion: Confusion) -> Iterable[Wanted]:
    watchers = {label.label: label.watchers for label in labels}
    for row, name in enumerate(confusion.labels):
        counts = confusion.counts[row]
        total = sum(counts)
        others = [(count, column) for column, count in enumerate(counts) if column != row]
        if total < MIN_TEST or not others:
            continue
        most, column = max(others, key=lambda each: (each[0], -each[1]))
        if most >= CONFUSED * total:
            other = confusion.labels[column]
            detail = f"{confusion.model_id} takes {most / total:.0%} of its pictures for {other}"
            yield Wanted(name, Need.CONFUSED, None, detail, watchers.get(name, ()))
