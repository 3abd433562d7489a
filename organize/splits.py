"""Train, validation and test splits: a pure function of duplicate group and seed, imported by executors."""

from hashlib import blake2b

from lake.snapshot import Split

Fractions = tuple[float, float, float]


def split_of(group: str, seed: int, fractions: Fractions) -> Split:
    """Assign a duplicate group to a split, deterministically.

    All images of a group are in the same split, so no near duplicate of a test image is trained on.

    Args:
        group: duplicate group id.
        seed: of the dataset snapshot.
        fractions: of train, validation and test, summing to 1.
    """
    point = int.from_bytes(blake2b(f"{seed}:{group}".encode(), digest_size=8).digest(), "big") / 2**64
    train, validation, _ = fractions
    if point < train:
        return Split.TRAIN
    return Split.VALIDATION if point < train + validation else Split.TEST
