"""Ids of duplicate groups: minted once, never used for another group, and what merges and splits do to them.

An id is a hash, so that it can outlive the image that it was minted for: an erased image's id is nowhere.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import count

_DIGEST = 8  # bytes
PREFIX = "g-"


def own_id(image_id: str) -> str:
    """The id of the group that an image forms when it is new."""
    return _mint(image_id)


def _mint(*names: str) -> str:
    return PREFIX + blake2b("\n".join(names).encode(), digest_size=_DIGEST).hexdigest()


def _mint_unused(parent: str, images: Sequence[str], used: Collection[str]) -> str:
    """A new id for a part of a group; the same again after a crash."""
    tries = (_mint(parent, str(number), *images) for number in count())
    return next(group_id for group_id in tries if group_id not in used)


@dataclass(frozen=True)
class GroupIds:
    """The ids after a change.

    Args:
        of_image: image id to group id, for all images of the change.
        merged: ids that ended to the ids that their images have now.
    """

    of_image: dict[str, str]
    merged: dict[str, str]


def assign_ids(
    groups: Iterable[Sequence[str]],
    before: Mapping[str, str],
    ended: Callable[[], Collection[str]] = frozenset,
) -> GroupIds:
    """Give ids to groups, so that as few images as possible change theirs.

    A group keeps the id that most of its images had; the other ids that ended in it are merged into that one.
    If a group was divided, the part with most of its images keeps the id, and the others get new ones.

    Args:
        groups: all images of the change, each in one group, which may have one image.
        before: image id to group id. Images that are not in `groups` keep their ids.
        ended: the ids that were merged into others earlier; called only if a new id is needed.
    """
    ordered = sorted(tuple(sorted(group)) for group in groups)
    changing = {image for group in ordered for image in group}
    keeper = _keepers(ordered, before)
    staying = {group_id for image, group_id in before.items() if image not in changing}
    of_image: dict[str, str] = {}
    merged: dict[str, str] = {}
    for number, group in enumerate(ordered):
        counts = Counter(before[image] for image in group)
        kept = [group_id for group_id in counts if keeper[group_id] == number]
        if kept:
            chosen = min(kept, key=lambda group_id: (-counts[group_id], group_id))
            ending = {group_id for group_id in kept if group_id not in staying} - {chosen}
            merged |= dict.fromkeys(ending, chosen)
        else:
            chosen = _mint_unused(before[group[0]], group, {*before.values(), *ended()})
        of_image |= dict.fromkeys(group, chosen)
    return GroupIds(of_image, merged)


def _keepers(groups: Sequence[Sequence[str]], before: Mapping[str, str]) -> dict[str, int]:
    """Each id to the number of the group that has most of its images."""
    shares: dict[str, Counter[int]] = {}
    for number, group in enumerate(groups):
        for image in group:
            shares.setdefault(before[image], Counter())[number] += 1
    return {
        group_id: min(counts, key=lambda number: (-counts[number], number))
        for group_id, counts in shares.items()
    }
