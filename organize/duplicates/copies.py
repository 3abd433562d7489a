"""Which copy of a duplicate group is best, and why: largest, then sharpest, then fewest flags."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_SAME_SHARPNESS = 0.05  # relative difference that is not worth mentioning


@dataclass(frozen=True)
class Copy:
    """A picture of a duplicate group.

    Args:
        image_id: of the picture.
        width, height: of the original (pixels); 0 if unknown.
        sharpness: variance of the Laplacian; None if unknown.
        flags: quality flags.
    """

    image_id: str
    width: int
    height: int
    sharpness: float | None
    flags: tuple[str, ...]

    @property
    def pixels(self) -> int:
        """Number of pixels of the original."""
        return self.width * self.height


@dataclass(frozen=True)
class Ranked:
    """A copy with its rank, 1 for the best, and the reason."""

    copy: Copy
    rank: int
    why: str


def rank(copies: Iterable[Copy]) -> list[Ranked]:
    """Order the copies of a group, the best first; ties by image id."""
    ordered = sorted(copies, key=lambda c: (-c.pixels, -(c.sharpness or 0.0), len(c.flags), c.image_id))
    if not ordered:
        return []
    best = ordered[0]
    reasons = [_why_best(ordered), *(_why_not(copy, best) for copy in ordered[1:])]
    return [Ranked(copy, n, why) for n, (copy, why) in enumerate(zip(ordered, reasons, strict=True), 1)]


def _why_best(ordered: Sequence[Copy]) -> str:
    best, others = ordered[0], ordered[1:]
    same_size = [copy for copy in others if copy.pixels == best.pixels]
    reasons = []
    if len(same_size) < len(others):
        reasons.append(f"largest ({_size(best)})")
    if same_size:
        less_sharp = [copy for copy in same_size if _is_less_sharp(copy, best)]
        reasons.append("sharpest of this size" if less_sharp else "equal to another, first by id")
    if best.flags:
        reasons.append(f"but {', '.join(best.flags)}")
    return ", ".join(reasons) or f"the only copy ({_size(best)})"


def _why_not(copy: Copy, best: Copy) -> str:
    reasons = []
    if copy.pixels < best.pixels:
        reasons.append(f"smaller ({_size(copy)})")
    elif _is_less_sharp(copy, best):
        reasons.append(f"less sharp ({copy.sharpness or 0:.0f} of {best.sharpness or 0:.0f})")
    new = [flag for flag in copy.flags if flag not in best.flags]
    if new:
        reasons.append(", ".join(new))
    return ", ".join(reasons) or "equal to the best"


def _is_less_sharp(copy: Copy, best: Copy) -> bool:
    return (copy.sharpness or 0.0) < (best.sharpness or 0.0) * (1 - _SAME_SHARPNESS)


def _size(copy: Copy) -> str:
    return f"{copy.width}×{copy.height}" if copy.pixels else "unknown size"
