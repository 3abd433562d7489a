"""Verification of a candidate pair on its stored pixels: whether it is a near duplicate, and in what way."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from organize.duplicates.comparison import alignment
from organize.duplicates.comparison.alignment import Agreement, CoarseView
from organize.duplicates.comparison.picture_square import SIDE, Square, mirrored, softened
from organize.duplicates.comparison.relation import Relation, relation_of

VERSION = "aligned-2"  # in the table `duplicate_pairs`; another one where the same pair gets another result

FAMILIAR = 0.68  # cosine of embeddings that few different pictures have
LIKENESS = 30.0  # standard deviations for each unit of cosine above it
ALIKE = 3.0  # standard deviations that embeddings add, at most; then the lower LEAST_CORRELATION is enough
LEAST_COARSE = 0.5  # correlation of the coarse search below which a pair is no candidate any more
LEAST_CORRELATION = (0.75, 0.85)  # of pictures whose embeddings are alike, and of others
SURE = 11.0  # significance from which that is enough; the calibration may raise it
DOUBTFUL = 3.0  # below SURE, within which pictures of low contrast must agree almost fully
FULL_CORRELATION = (0.97, 0.985)  # least correlation just below SURE, and DOUBTFUL below it
ALMOST_EQUAL = (0.99, 5.0)  # correlation from which this significance is enough, at any calibration
SHARPER = 1.5  # ratio of shortest sides from which the details of the larger picture do not count
LEAST_SHARED = (0.3, 0.7)  # share of each picture that the other shows, in ascending order


@dataclass(frozen=True)
class Print:
    """What a pair is verified on: the square of a picture and the size of its original.

    Args:
        image_id: of the picture.
        square: uint8 (64, 64); without a frame around the picture.
        size: width and height of the original (pixels), with its frame.
        framed: whether it has a frame.
    """

    image_id: str
    square: Square
    size: tuple[int, int]
    framed: bool = False
    _views: dict[bool, CoarseView] = field(default_factory=dict, init=False, repr=False, compare=False)

    def view(self, mirror: bool = False) -> CoarseView:
        """The view for the coarse search, of the picture or its mirror image; made once."""
        if mirror not in self._views:
            self._views[mirror] = CoarseView.of(mirrored(self.square) if mirror else self.square)
        return self._views[mirror]


@dataclass(frozen=True)
class Match:
    """A pair whose pixels agree, maybe by chance: `is_near_duplicate` says whether they agree enough.

    Args:
        first, second: image ids, first < second.
        relation: of the two.
        correlation: of the aligned pixels, 0–1.
        significance: `Agreement.significance` and `likeness`; of equal pixels `EXACT_SIGNIFICANCE`.
    """

    first: str
    second: str
    relation: Relation
    correlation: float
    significance: float

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Match":
        """The pair of a row of `duplicate_pairs`."""
        relation = Relation(row["relation"])
        return cls(row["first"], row["second"], relation, row["correlation"], row["significance"])

    def with_likeness(self, cosine: float) -> "Match | None":
        """The pair with what its embeddings add to its significance; None if that is too little.

        Args:
            cosine: of the two embeddings; 0 if there are none.
        """
        if self.relation is Relation.EXACT:
            return self
        added = likeness(cosine)
        low, high = LEAST_CORRELATION
        found = replace(self, significance=self.significance + added)
        if self.correlation < high - (high - low) * added / ALIKE:
            return None
        return found

    def is_near_duplicate(self, sure: float = SURE) -> bool:
        """Whether the pixels agree enough.

        Args:
            sure: significance that is enough.
        """
        if self.relation is Relation.EXACT or self.significance >= sure:
            return True
        if _is_almost_equal(self.correlation, self.significance):
            return True
        below = (sure - self.significance) / DOUBTFUL
        least = FULL_CORRELATION[0] + (FULL_CORRELATION[1] - FULL_CORRELATION[0]) * below
        return below <= 1 and self.correlation >= least


EXACT_SIGNIFICANCE = 1000.0  # of equal pixels


def likeness(cosine: float) -> float:
    """What the cosine of two embeddings adds to the significance of their pixels (standard deviations).

    Other views of the same thing agree in few pixels, outlines of different aeroplanes in many. Embeddings
    tell them apart. The random pairs of the calibration get the same, so in a lake whose pictures are all
    alike to the embedder it changes nothing: the threshold rises, too.
    """
    return min(ALIKE, LIKENESS * max(0.0, cosine - FAMILIAR))


def verify(one: Print, other: Print, cosine: float = 0.0) -> Match | None:
    """Compare two pictures on their pixels and embeddings.

    Args:
        cosine: of the two embeddings; 0 if there are none.

    Returns:
        None for pictures that cannot be near duplicates at any calibration.
    """
    found = compare(one, other)
    return found.with_likeness(cosine) if found else None


def compare(one: Print, other: Print) -> Match | None:
    """Compare two pictures on their pixels; `Match.with_likeness` judges the result.

    The result does not depend on the order of the two.

    Returns:
        None for pictures that cannot be near duplicates whatever their embeddings are.
    """
    first, second = (one, other) if one.image_id < other.image_id else (other, one)
    looks = [(each.size, each.framed) for each in (first, second)]
    if looks[0] == looks[1] and np.array_equal(first.square, second.square):
        return Match(first.image_id, second.image_id, Relation.EXACT, 1.0, EXACT_SIGNIFICANCE)
    found = align(first, second)
    if found is None or not _may_match(found[0]):
        return None
    agreement, mirror = found
    relation = relation_of(agreement, mirror, (first.size, second.size))
    if first.framed != second.framed and relation in (Relation.REENCODED, Relation.RESIZED):
        relation = Relation.CROPPED
    return Match(first.image_id, second.image_id, relation, agreement.correlation, agreement.significance)


def align(first: Print, second: Print, least: float = LEAST_COARSE) -> tuple[Agreement, bool] | None:
    """Align the second picture, or its mirror image, with the first.

    Args:
        least: correlation of the coarse search; None is returned for pairs below it.

    Returns:
        how they agree, and whether the second was mirrored.
    """
    placements = [alignment.place(first.view(), second.view(mirror)) for mirror in (False, True)]
    mirror = placements[1].correlation > placements[0].correlation
    if placements[mirror].correlation < least:
        return None
    one, other = _equally_sharp(first, second)
    other = mirrored(other) if mirror else other
    matrix = alignment.refine(one, other, placements[mirror].matrix)
    return alignment.agreement(one, other, matrix), mirror


def _equally_sharp(first: Print, second: Print) -> tuple[Square, Square]:
    """The squares of two pictures. Beside a tiny picture, that of a larger one is made as soft."""
    small, large = sorted((first, second), key=lambda each: min(each.size))
    if min(small.size) >= SIDE or min(large.size) < SHARPER * min(small.size):
        return first.square, second.square
    soft = softened(large.square, small.size)
    return (soft, second.square) if large is first else (first.square, soft)


def _is_almost_equal(correlation: float, significance: float) -> bool:
    """Whether even pictures with little contrast agree enough: different strokes of a pen never do."""
    return correlation >= ALMOST_EQUAL[0] and significance >= ALMOST_EQUAL[1]


def _may_match(agreement: Agreement) -> bool:
    least, most = sorted((agreement.shared_first, agreement.shared_second))
    almost_equal = _is_almost_equal(agreement.correlation, agreement.significance)
    return (
        agreement.correlation >= LEAST_CORRELATION[0]
        and (agreement.significance >= SURE - DOUBTFUL or almost_equal)
        and least >= LEAST_SHARED[0]
        and most >= LEAST_SHARED[1]
    )
