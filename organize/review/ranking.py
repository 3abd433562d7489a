"""Which pictures a person should look at first."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

EVEN_SHARES = 1.5


@dataclass(frozen=True)
class Doubtful:
    """A sample whose label is doubted.

    Args:
        image_id: of the sample.
        label: its label.
        suggested_label: that it probably has; None if the model has none.
        label_quality: 0 to 1; None for a label conflict that no model has judged.
        reason: why it is here.
        group: its duplicate group, or its own id.
    """

    image_id: str
    label: str
    suggested_label: str | None
    label_quality: float | None
    reason: str
    group: str

    @property
    def doubt(self) -> float:
        """0 to 1; a conflict without a judgement is the most doubtful."""
        return 1 - (self.label_quality or 0.0)


def most_doubtful(samples: Iterable[Doubtful], limit: int) -> list[Doubtful]:
    """The most doubtful samples, one of each duplicate group, spread over the labels, most doubtful first.

    No label takes more than `EVEN_SHARES` of an even share as long as other labels have doubtful samples: a
    label that is doubted as a whole would fill the page.

    Args:
        samples: doubtful ones, in any order.
        limit: how many, at most.
    """
    ranked = sorted(samples, key=lambda each: (-each.doubt, each.image_id))
    by_group: dict[str, Doubtful] = {}
    for each in ranked:
        by_group.setdefault(each.group, each)
    chosen = list(by_group.values())
    labels = {each.label for each in chosen}
    if not labels:
        return []
    share = math.ceil(EVEN_SHARES * limit / len(labels))
    taken: Counter[str] = Counter()
    first: list[Doubtful] = []
    later: list[Doubtful] = []
    for each in chosen:
        taken[each.label] += 1
        (first if taken[each.label] <= share else later).append(each)
    return sorted((first + later)[:limit], key=lambda each: (-each.doubt, each.image_id))
