"""Reviews: pictures to decide about, decisions, and the log of all decisions."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from web.api.parameters import After, Limit
from web.data.browse import review_queue
from web.data.browse.review_queue import ReviewQueue
from web.data.keyset import Listing, Page
from web.decisions.decider import Taken
from web.decisions.wishes import MAX_IMAGES, Choice, wish
from web.resources.dependencies import Reviewer, Shared

router = APIRouter(prefix="/reviews", tags=["reviews"])


class Choices(BaseModel):
    """Decisions of one request, which are taken all or none."""

    decisions: list[Choice] = Field(min_length=1, max_length=MAX_IMAGES)


@dataclass(frozen=True)
class DecisionRow:
    """A decision in the log; `user` is null once erased, `decided` is in UTC."""

    decision_id: str
    kind: str
    image_id: str
    label_before: str | None
    label_after: str | None
    user: str | None
    decided: datetime


DECISIONS = Listing(
    "decisions",
    tuple(DecisionRow.__dataclass_fields__),
    {"decided": "TIMESTAMP", "image_id": "VARCHAR"},
    lambda row: DecisionRow(**row),
    descending=True,
)


@router.get("", summary="List decisions, the newest first")
def index(shared: Shared, who: Reviewer, limit: Limit = 50, after: After = None) -> Page[DecisionRow]:
    """The log of all decisions: who decided what, when, with the labels before and after."""
    return DECISIONS.page(shared.mirror, limit, after)


@router.get("/queue", summary="Pictures to decide about")
def queue(
    shared: Shared,
    who: Reviewer,
    limit: Limit = 30,
    label: Annotated[str | None, Query(max_length=64, description="Only with this label.")] = None,
    unchecked: Annotated[bool, Query(description="Also pictures that are not doubtful.")] = False,
) -> ReviewQueue:
    """The most doubtful pictures first, one of each group of near duplicates."""
    votes = shared.decider.votes
    own = votes.voted(who.user) if votes else set()
    find = review_queue.unchecked if unchecked else review_queue.doubtful
    return find(shared.mirror, label or None, limit, own)


@router.post("", summary="Decide about labels")
def decide(shared: Shared, who: Reviewer, chosen: Choices) -> Taken:
    """Confirm or correct labels, reject pictures, or undo the newest decision about a picture.

    With `web.review_agreement` above 1 a decision is taken when so many people agree; until then it waits.
    The same request again changes nothing.
    """
    closed = shared.settings.labels.mode == "closed"
    wishes = [wish(each, shared.hierarchy, closed) for each in chosen.decisions]
    return shared.decider.decide(wishes, who.user)
