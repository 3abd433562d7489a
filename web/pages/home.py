"""The home page: what came in, what was rejected and why, and which labels are close to ready."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from web.access.principal import Role
from web.data import overview
from web.data.browse import activity, ledger_groups
from web.data.mirror import Mirror
from web.pages import charts
from web.pages.rendering import render
from web.resources.dependencies import Shared, Uploader

router = APIRouter()

_BATCHES = 5


@router.get("/")
def home(request: Request, shared: Shared, who: Uploader) -> HTMLResponse:
    """Counters of the hub for reviewers; of their own uploads for uploaders."""
    mirror, ready_images = shared.mirror, shared.settings.labels.ready_images
    user = None if who.may(Role.REVIEWER) else who.user
    values = mirror.remember(("home", user), lambda: _values(mirror, user, ready_images))
    return render(request, who, "home.html", ready_images=ready_images, **values)


def _values(mirror: Mirror, user: str | None, ready_images: int) -> dict[str, Any]:
    """What the page shows; it counts all rows, so it is computed once for each version of the tables."""
    rate = activity.rate(mirror, user)
    return {
        "counts": overview.counts(mirror, user),
        "reasons": overview.reasons(mirror, user),
        "rate": rate,
        "bars": charts.rate_bars(rate),
        "map": charts.cell_map(activity.cells(mirror, user)),
        "batches": ledger_groups.newest_batches(mirror, _BATCHES) if user is None else [],
        "labels": overview.labels_to_complete(mirror, ready_images),
    }
