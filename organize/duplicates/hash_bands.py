"""Bands of perceptual hashes (pHash): two hashes that differ in few bits are equal in one of their bands.

Source: Manku, Jain, Das Sarma, "Detecting near-duplicates for web crawling", WWW 2007, section 3.
"""

from itertools import pairwise

HASH_BITS = 64


def bands_of(phash: int, distance: int) -> list[int]:
    """The bands of a hash: `distance` + 1 of them, of nearly equal width (pigeonhole).

    Args:
        phash: signed 64-bit integer.
        distance: bits by which hashes may differ.

    Returns:
        one non-negative integer per band, from the lowest bits; of at most 63 bits unless distance is 0.
    """
    count = distance + 1
    bits = phash & (1 << HASH_BITS) - 1
    edges = [HASH_BITS * band // count for band in range(count + 1)]
    return [bits >> start & (1 << end - start) - 1 for start, end in pairwise(edges)]


def bit_difference(one: int, other: int) -> int:
    """Number of bits in which two signed 64-bit hashes differ."""
    return ((one ^ other) & (1 << HASH_BITS) - 1).bit_count()
