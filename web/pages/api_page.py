"""The page of the API: its operations, read from the OpenAPI document."""

from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from web.pages.rendering import render
from web.resources.dependencies import Uploader

router = APIRouter()


@dataclass(frozen=True)
class Operation:
    """An operation of the API; `parameters` are their names with what they mean."""

    method: str
    path: str
    summary: str
    description: str
    parameters: dict[str, str]


@router.get("/api")
def show(request: Request, who: Uploader) -> HTMLResponse:
    """All operations."""
    document = request.app.openapi()
    operations = [
        Operation(
            method.upper(),
            path,
            operation.get("summary", ""),
            operation.get("description", ""),
            {each["name"]: each.get("description", "") for each in operation.get("parameters", ())},
        )
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    return render(request, who, "api.html", operations=operations, address=request.app.openapi_url)
