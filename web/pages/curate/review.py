"""Review: one doubtful picture after the other, decisions about several, and the log."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from organize.review.decisions import Kind
from web.api.parameters import After
from web.api.reviews import DECISIONS
from web.data.browse import label_tree, samples
from web.data.browse.samples import PictureFilter
from web.decisions.wishes import MAX_IMAGES, Choice, wish
from web.pages.links import inside, with_parameter
from web.pages.rendering import render
from web.problems.problem import Problem
from web.resources.dependencies import Reviewer, Shared

router = APIRouter()

_LIMIT = 50
_ACCEPT = "accept:"  # and the suggested label


@router.get("/review")
def show(
    request: Request, shared: Shared, who: Reviewer, label: str = "", unchecked: bool = False
) -> HTMLResponse:
    """The page that shows one picture after the other; its script asks the API for them."""
    nodes = label_tree.tree(shared.mirror, shared.hierarchy, shared.settings.labels.ready_images)
    votes = shared.decider.votes
    return render(
        request, who, "review.html",
        nodes=nodes, label=label, unchecked=unchecked, agreement=shared.settings.web.review_agreement,
        waiting=votes.waiting() if votes else 0,
    )  # fmt: skip


@router.get("/review/log")
def log(request: Request, shared: Shared, who: Reviewer, after: After = None) -> HTMLResponse:
    """All decisions, the newest first."""
    page = DECISIONS.page(shared.mirror, _LIMIT, after)
    rows = samples.by_ids(shared.mirror, [each.image_id for each in page.items])
    return render(request, who, "review_log.html", page=page, after=after, rows=rows)


@router.post("/review/decide")
async def decide(
    request: Request,
    shared: Shared,
    who: Reviewer,
    decision: Annotated[str, Form(max_length=100)],
    back: Annotated[str, Form(max_length=2000)] = "/review",
    scope: Annotated[str, Form()] = "selected",
    to: Annotated[str, Form(max_length=200)] = "",
    label: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """Decide about the pictures that a form names, or about all that match its filter."""
    from fastapi.concurrency import run_in_threadpool

    form = await request.form()
    chosen = [str(each) for each in form.getlist("image")]
    names = {name: str(form[name]) for name in PictureFilter.model_fields if name in form}

    def take() -> str | None:
        images = chosen
        if scope == "all":
            wanted = PictureFilter.model_validate(names)
            total = samples.count(shared.mirror, label or None, wanted)
            if total > MAX_IMAGES:
                raise Problem(422, f"{total:,} pictures match: decide about at most {MAX_IMAGES:,} at once")
            images = samples.ids(shared.mirror, label or None, wanted, MAX_IMAGES)
        if not images:
            raise Problem(422, "no picture is selected: tick some, or choose all that match")
        word, new = (Kind.RELABEL, decision.removeprefix(_ACCEPT)) if decision.startswith(_ACCEPT) else (
            _kind(decision), to
        )  # fmt: skip
        closed = shared.settings.labels.mode == "closed"
        wishes = [
            wish(Choice(image_id=each, decision=word, label=new), shared.hierarchy, closed) for each in images
        ]
        taken = shared.decider.decide(wishes, who.user)
        shared.mirror.refresh()  # so that the page that follows shows it
        return taken.decision_id

    decision_id = await run_in_threadpool(take)
    return RedirectResponse(with_parameter(inside(back), "done", decision_id or "nothing"), 303)


@router.post("/review/undo")
def undo(
    shared: Shared,
    who: Reviewer,
    decision_id: Annotated[str, Form(max_length=40)],
    back: Annotated[str, Form(max_length=2000)] = "/review/log",
) -> Response:
    """Undo decisions that were taken together."""
    shared.decider.undo(decision_id, who.user)
    shared.mirror.refresh()
    return RedirectResponse(inside(back), 303)


def _kind(word: str) -> Kind:
    try:
        return Kind(word)
    except ValueError:
        raise Problem(422, f"a decision is {', '.join(Kind)}, not {word[:40]!r}") from None
