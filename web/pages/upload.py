"""The upload page: a form that puts pictures into the browser's queue, which sends them by itself."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from web.data import labels
from web.pages.rendering import render
from web.resources.dependencies import Shared, Uploader

router = APIRouter()


@router.get("/upload")
def form(request: Request, shared: Shared, who: Uploader, batch: str = "") -> HTMLResponse:
    """The form; `?batch=` puts all uploads into one batch."""
    closed = shared.settings.labels.mode == "closed"
    suggestions = labels.suggestions(shared.mirror, shared.hierarchy, closed)
    return render(
        request, who, "upload.html",
        suggestions=suggestions,
        example=suggestions[0].name if suggestions else "cat",
        closed=closed,
        batch=batch[:200],
        licence=shared.settings.web.licence,
    )  # fmt: skip
