"""Decisions about labels as values: what somebody wishes, what is recorded, and what becomes of the sample.

No Spark, no files. Each decision states the sample before and after it, so that it can be undone.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from lake.schemas import LABEL_CONFLICT, NONE_OF_THESE
from organize.errors import BadDecision

DECIDED = "decided by a person"  # label_reason of a sample whose label somebody checked
_OF_LABEL = ("cluster", "cluster_distance", "outlier")  # columns that say how an image compares to its label
_OF_ALL = ("overall_cluster", "overall_distance", "overall_outlier")  # likewise to all images
_SHOWN = 3  # image ids that an error names


class Kind(StrEnum):
    """What was decided about an image."""

    RELABEL = "relabel"
    KEEP = "keep"
    NONE_OF_THESE = "none_of_these"
    UNDO = "undo"


class Source(StrEnum):
    """Where a sample's label comes from (`samples.label_source`)."""

    CLAIMED = "claimed"
    CHECKED = "checked"
    CORRECTED = "corrected"


@dataclass(frozen=True)
class Wish:
    """What somebody wants for an image; `label` is the slug of the new label of a relabel, else None."""

    image_id: str
    kind: Kind
    label: str | None = None


@dataclass(frozen=True)
class State:
    """What a decision changes in a sample.

    Args:
        label: slug; None if the claim was erased.
        source: of the label.
        excluded: whether the image is flagged as none of these.
    """

    label: str | None
    source: Source
    excluded: bool = False

    @classmethod
    def of_sample(cls, sample: Mapping[str, Any]) -> "State":
        """The state of a row of `samples`."""
        source = Source(sample["label_source"] or Source.CLAIMED)
        return cls(sample["label"], source, NONE_OF_THESE in (sample["flags"] or ()))


@dataclass(frozen=True)
class Decision:
    """A row of `decisions`, without its time and user."""

    decision_id: str
    kind: Kind
    image_id: str
    before: State
    after: State

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> "Decision":
        """Read a row of the table."""
        states = [
            State(row[f"label_{when}"], Source(row[f"source_{when}"]), bool(row[f"excluded_{when}"]))
            for when in ("before", "after")
        ]
        return cls(row["decision_id"], Kind(row["kind"]), row["image_id"], *states)

    def row(self) -> dict[str, Any]:
        """The columns of the table that the decision has."""
        columns: dict[str, Any] = {
            "decision_id": self.decision_id,
            "kind": self.kind.value,
            "image_id": self.image_id,
        }
        for when, state in (("before", self.before), ("after", self.after)):
            columns |= {
                f"label_{when}": state.label,
                f"source_{when}": state.source.value,
                f"excluded_{when}": state.excluded,
            }
        return columns


def decide(
    wishes: Sequence[Wish], states: Mapping[str, State], newest: Mapping[str, Decision], user: str
) -> list[Decision]:
    """Make decisions of wishes, all of them or none; wishes that change nothing are left out.

    Args:
        wishes: at most one for each image, or equal ones.
        states: of the samples, by image id.
        newest: decision about each image, if there is one.
        user: who decides.

    Raises:
        BadDecision: an image has no sample or two different wishes, or nothing that could be undone.
    """
    by_image: dict[str, Wish] = {}
    for wish in wishes:
        if by_image.setdefault(wish.image_id, wish) != wish:
            raise BadDecision(f"two decisions about image {wish.image_id}: leave one; nothing was changed")
    unknown = [image_id for image_id in by_image if image_id not in states]
    if unknown:
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        raise BadDecision(
            f"no sample has the image id {', '.join(map(repr, unknown[:_SHOWN]))}{more}: image ids are in "
            "the file that `hub review` writes; nothing was changed"
        )
    planned = [
        (wish, states[wish.image_id], _after(wish, states[wish.image_id], newest.get(wish.image_id)))
        for wish in by_image.values()
    ]
    changed = [(wish, before, after) for wish, before, after in planned if before != after]
    content = [[asdict(wish), asdict(before), asdict(after)] for wish, before, after in changed]
    history = sorted(newest[wish.image_id].decision_id for wish, _, _ in changed if wish.image_id in newest)
    digest = hashlib.sha256(json.dumps([user, content, history]).encode()).hexdigest()
    decision_id = f"dec-{digest[:12]}"
    return [Decision(decision_id, wish.kind, wish.image_id, before, after) for wish, before, after in changed]


def _after(wish: Wish, before: State, newest: Decision | None) -> State:
    match wish.kind:
        case Kind.RELABEL if wish.label == before.label:
            kept = Source.CORRECTED if before.source is Source.CORRECTED else Source.CHECKED
            return State(wish.label, kept)
        case Kind.RELABEL:
            return State(wish.label, Source.CORRECTED)
        case Kind.KEEP:
            kept = Source.CORRECTED if before.source is Source.CORRECTED else Source.CHECKED
            return State(before.label, kept)
        case Kind.NONE_OF_THESE:
            return State(before.label, Source.CHECKED, excluded=True)
        case Kind.UNDO:
            if newest is None or newest.kind is Kind.UNDO:
                raise BadDecision(
                    f"image {wish.image_id} has no decision that could be undone; nothing was changed"
                )
            return newest.before


def newest_by_image(decisions: Iterable[Mapping[str, Any]]) -> dict[str, Decision]:
    """The newest decision about each image, from rows of the table."""
    ordered = sorted(decisions, key=lambda row: (row["decided"], row["decision_id"]))
    return {row["image_id"]: Decision.of_row(row) for row in ordered}


def is_applied(decision: Decision, state: State) -> bool:
    """Whether a sample has the state after its newest decision.

    A label that is claimed again follows the uploads, so only its source is compared.
    """
    if decision.after.source is Source.CLAIMED:
        return state.source is Source.CLAIMED and not state.excluded
    return state == decision.after


def sample_values(after: State, sample: Mapping[str, Any], claims: Sequence[str] | None) -> dict[str, Any]:
    """The columns of `samples` after a decision.

    A sample with another label leaves its label's clusters, one that shows no label leaves all.

    Args:
        after: the state.
        sample: its row of `samples` before: label and flags.
        claims: labels of the image's uploads, first to last, for a label that is claimed again.
    """
    flags = [flag for flag in sample["flags"] or () if flag not in (LABEL_CONFLICT, NONE_OF_THESE)]
    claimed = after.source is Source.CLAIMED
    label = claims[0] if claimed and claims else after.label
    if claimed and len(set(claims or ())) > 1:
        flags.append(LABEL_CONFLICT)
    if after.excluded:
        flags.append(NONE_OF_THESE)
    values = {
        "label": label,
        "label_source": after.source.value,
        "flags": flags,
        "label_quality": None if claimed else 1.0,
        "suggested_label": None,
        "label_reason": None if claimed else DECIDED,
    }
    if after.excluded:
        return values | dict.fromkeys((*_OF_LABEL, *_OF_ALL))
    return values | (dict.fromkeys(_OF_LABEL) if label != sample["label"] else {})
