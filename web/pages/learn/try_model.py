"""Try: a picture from the camera or a file, what a model sees in it, and pictures that look like it."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from web.access.principal import Role
from web.data import catalogue, labels
from web.data.keyset import Where
from web.pages.rendering import render
from web.resources.dependencies import Shared, Uploader

router = APIRouter()

_MODELS = 50


@router.get("/try")
def show(request: Request, shared: Shared, who: Uploader, model: str = "") -> HTMLResponse:
    """The page; `?model=` chooses a model."""
    ready = catalogue.MODELS.page(shared.mirror, _MODELS, None, Where().equal(state="ready")).items
    closed = shared.settings.labels.mode == "closed"
    return render(
        request, who, "try.html",
        models=[each for each in ready if "test_accuracy" in each.metrics],
        chosen=model,
        suggestions=labels.suggestions(shared.mirror, shared.hierarchy, closed),
        licence=shared.settings.web.licence,
        similar=who.may(Role.REVIEWER),
    )  # fmt: skip
