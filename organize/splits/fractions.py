"""Splits of whole labels: pure functions of label and seed."""

from collections.abc import Iterable
from hashlib import blake2b

from lake.errors import NothingToOrganize
from lake.snapshot import Split

Fractions = tuple[float, float, float]

MIN_LABELS = 2  # in a split by label: fewer form no pairs of different labels


def split_labels(labels: Iterable[str], seed: int, fractions: Fractions) -> dict[str, Split]:
    """Assign whole labels to splits, deterministically; a new label changes the split of few others.

    Args:
        labels: all labels of the dataset snapshot.
        seed: of the dataset snapshot.
        fractions: of the labels in train, validation and test, summing to 1.

    Raises:
        NothingToOrganize: there are too few labels.
    """
    ordered = sorted(set(labels), key=lambda label: (point(label, seed), label))
    counts = {
        split: max(MIN_LABELS, round(len(ordered) * share)) if share else 0
        for split, share in zip(Split, fractions, strict=True)
    }
    counts[Split.TRAIN] = len(ordered) - counts[Split.VALIDATION] - counts[Split.TEST]
    if counts[Split.TRAIN] < MIN_LABELS:
        least = MIN_LABELS * sum(share > 0 for share in fractions)
        raise NothingToOrganize(
            f"{len(ordered)} labels are too few to split by label: {least} are needed, {MIN_LABELS} for each "
            "split; give more labels, another organize.fractions, or organize.split_by = group"
        )
    splits = [split for split, count in counts.items() for _ in range(count)]
    return dict(zip(ordered, splits, strict=True))


def point(name: str, seed: int) -> float:
    """A pseudo-random number from 0 to 1 that a name and a seed give on every machine."""
    return int.from_bytes(blake2b(f"{seed}:{name}".encode(), digest_size=8).digest(), "big") / 2**64
