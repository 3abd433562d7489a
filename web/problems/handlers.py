"""Turns exceptions into answers: problem+json for programs, a page for browsers."""

import logging
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from conf.errors import HubError
from lake.errors import StorageError
from models.errors import UnknownModel
from web.problems.problem import Problem

MEDIA_TYPE = "application/problem+json"
API = "/api/"

_log = logging.getLogger("hub.web")

Page = Callable[[Request, Problem], Response]


def install(app: FastAPI, page: Page) -> None:
    """Add the handlers.

    Args:
        page: renders a problem as HTML, for a browser that asks for a page.
    """

    def answer(request: Request, problem: Problem) -> Response:
        if wants_page(request):
            return page(request, problem)
        return JSONResponse(
            problem.body(), problem.status, headers=problem.all_headers(), media_type=MEDIA_TYPE
        )

    handlers: dict[type[Exception], Callable[[Any], Problem]] = {
        Problem: lambda error: error,
        RequestValidationError: _of_validation,
        HTTPException: lambda error: Problem(error.status_code, str(error.detail), headers=_headers(error)),
        # A data file was rewritten while it was read, or the lake is away.
        OSError: lambda error: Problem(503, f"the lake cannot be read: {error}", "storage", retry_after=2),
        StorageError: lambda error: Problem(503, str(error), "storage_unavailable", retry_after=5),
        UnknownModel: lambda error: Problem(404, str(error)),
        HubError: lambda error: Problem(422, str(error)),
        Exception: _of_bug,
    }
    for kind, convert in handlers.items():
        app.add_exception_handler(kind, _handler(convert, answer))


def wants_page(request: Request) -> bool:
    """Whether a browser asks for a page, so that an error is a page, too."""
    return not request.url.path.startswith(API) and "text/html" in request.headers.get("accept", "")


def _handler(
    convert: Callable[[Any], Problem], answer: Callable[[Request, Problem], Response]
) -> Callable[[Request, Exception], Response]:
    return lambda request, error: answer(request, convert(error))


def _of_validation(error: RequestValidationError) -> Problem:
    """The first errors of the request's parameters, each with its place and what is allowed."""
    parts = [f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in error.errors()[:5]]
    return Problem(422, "; ".join(parts), "bad_parameter")


def _headers(error: HTTPException) -> dict[str, str]:
    return dict(error.headers or {})


def _of_bug(error: Exception) -> Problem:
    _log.error("request failed", exc_info=error)
    return Problem(500, f"unexpected {type(error).__name__}; web.log in the log folder has the trace")
