"""Upload batches with their quality, and one of them."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from web.api.parameters import After
from web.data import catalogue, uploads
from web.data.browse import ledger_groups
from web.data.uploads import UploadFilter
from web.pages.rendering import render
from web.problems.problem import Problem
from web.resources.dependencies import Reviewer, Shared

router = APIRouter()

_LIMIT, _SHOWN = 30, 24


@router.get("/batches")
def index(request: Request, shared: Shared, who: Reviewer, after: After = None) -> HTMLResponse:
    """All batches, the newest first."""
    page = catalogue.BATCHES.page(shared.mirror, _LIMIT, after)
    return render(request, who, "batches.html", page=page, after=after)


@router.get("/batches/{batch}")
def show(request: Request, shared: Shared, who: Reviewer, batch: str) -> HTMLResponse:
    """One batch: what was accepted and rejected, and some of its pictures."""
    found = ledger_groups.batch(shared.mirror, batch)
    if found is None:
        raise Problem(404, f"no batch {batch[:80]!r} has uploads")
    accepted = UploadFilter(batch=batch, verdict="accepted")
    return render(
        request, who, "batch.html",
        batch=found,
        labels=ledger_groups.parts(shared.mirror, "label", "accepted", batch),
        reasons=ledger_groups.parts(shared.mirror, "reason", "rejected", batch),
        shown=uploads.page(shared.mirror, accepted, _SHOWN).items,
    )  # fmt: skip
