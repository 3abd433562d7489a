"""Log in and out."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from web.access.sessions import COOKIE
from web.pages.links import inside
from web.pages.rendering import render
from web.resources.dependencies import Anybody, Shared

router = APIRouter()


@router.get("/login")
def form(request: Request, who: Anybody, next: str = "/") -> Response:
    """The form; people who are logged in already go on."""
    if who is not None:
        return RedirectResponse(inside(next), 303)
    return render(request, None, "login.html", next=inside(next), wrong=False, name="")


@router.post("/login")
def login(
    request: Request,
    shared: Shared,
    name: Annotated[str, Form(max_length=200)],
    password: Annotated[str, Form(max_length=1000)],
    next: Annotated[str, Form()] = "/",
) -> Response:
    """Check name and password, and start a session."""
    shared.rates.count("logins", request.client.host if request.client else "")
    person = shared.accounts.login(name, password)
    if person is None:
        return render(request, None, "login.html", 401, next=inside(next), wrong=True, name=name)
    answer = RedirectResponse(inside(next), 303)
    answer.set_cookie(
        COOKIE,
        shared.sessions.cookie(person),
        max_age=shared.sessions.seconds,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


@router.post("/logout")
def logout() -> Response:
    """End the session in this browser."""
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE)
    return answer
