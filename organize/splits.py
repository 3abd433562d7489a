"""Which split a duplicate group belongs to. Pure."""

from hashlib import blake2b

from lake.snapshot import Split

Fractions = tuple[float, float, float]


def split_of(group: str, seed: int, fractions: Fractions) -> Split:
    """Assign a duplicate group to a split, the same one on every run.

    Images of one group always land together, so no near copy of a test image is trained on.

    Args:
        group: duplicate group id.
        seed: of the snapshot; another seed deals the groups anew.
        fractions: of train, validation and test, summing to 1.
    """
    point = int.from_bytes(blake2b(f"{seed}:{group}".encode(), digest_size=8).digest(), "big") / 2**64
    train, validation, _ = fractions
    if point < train:
        return Split.TRAIN
    return Split.VALIDATION if point < train + validation else Split.TEST
