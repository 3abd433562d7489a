"""What a person chose on a page, as the wish that `organize.review` carries out."""

from pydantic import BaseModel, ConfigDict, Field

from lake.errors import BadLabel
from lake.label_hierarchy import Hierarchy
from lake.label_slug import label_slug
from organize.review.decisions import Kind, Wish
from web.problems.problem import Problem

MAX_IMAGES = 1000  # of one request


class Choice(BaseModel):
    """A decision about an image.

    Args:
        image_id: of the sample.
        decision: keep (the label is right), relabel, none_of_these (reject), or undo.
        label: for a relabel: the new label, as people write it.
    """

    model_config = ConfigDict(frozen=True)

    image_id: str = Field(max_length=128)
    decision: Kind
    label: str | None = Field(default=None, max_length=200)


def wish(choice: Choice, hierarchy: Hierarchy, closed: bool) -> Wish:
    """Make the wish of a choice.

    Args:
        hierarchy: for aliases, and the labels that are accepted.
        closed: whether only labels of the hierarchy are accepted.

    Raises:
        Problem: 422, the new label is missing, none, or not in the list of labels.
    """
    if choice.decision is not Kind.RELABEL:
        return Wish(choice.image_id, choice.decision)
    if not (choice.label or "").strip():
        raise Problem(422, "a changed label needs the new label", "bad_label")
    try:
        label = hierarchy.resolve(label_slug(choice.label or ""))
    except BadLabel as error:
        raise Problem(422, str(error), "bad_label") from None
    if closed and label not in hierarchy.labels:
        raise Problem(
            422, f"{choice.label!r} is not in the list of labels: choose one of it", "unknown_label"
        )
    return Wish(choice.image_id, Kind.RELABEL, label)
