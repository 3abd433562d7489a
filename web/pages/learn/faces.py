"""Faces: a picture, the faces in it and whose they look like; two pictures, and how far their faces are."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from web.pages.rendering import render
from web.resources.dependencies import Shared, Uploader

router = APIRouter()


@router.get("/faces")
def show(request: Request, shared: Shared, who: Uploader, model: str = "") -> HTMLResponse:
    """The page; `?model=` chooses a model."""
    settings = shared.settings
    models = shared.recognizer.models() if settings.faces.enabled else []
    return render(
        request, who, "faces.html",
        enabled=settings.faces.enabled, models=models, chosen=model,
        default=settings.faces.model, smallest=settings.faces.smallest_face,
    )  # fmt: skip
