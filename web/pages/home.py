"""The home page: what came in, what was rejected and why, and which labels are close to ready."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from web.access.principal import Role
from web.data import overview
from web.data.browse import activity, ledger_groups
from web.pages import charts
from web.pages.rendering import render
from web.resources.dependencies import Shared, Uploader

router = APIRouter()

_BATCHES = 5


@router.get("/")
def home(request: Request, shared: Shared, who: Uploader) -> HTMLResponse:
    """Counters of the hub for reviewers; of their own uploads for uploaders."""
    user = None if who.may(Role.REVIEWER) else who.user
    return render(
        request, who, "home.html",
        counts=overview.counts(shared.mirror, user),
        reasons=overview.reasons(shared.mirror, user),
        rate=(rate := activity.rate(shared.mirror, user)),
        bars=charts.rate_bars(rate),
        map=charts.cell_map(activity.cells(shared.mirror, user)),
        batches=ledger_groups.newest_batches(shared.mirror, _BATCHES) if user is None else [],
        labels=overview.labels_to_complete(shared.mirror, shared.settings.labels.ready_images),
        ready_images=shared.settings.labels.ready_images,
    )  # fmt: skip
