"""Renders templates: what all pages share, formats of numbers and times, and addresses of static files."""

import hashlib
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from web.access.principal import Principal, Proof
from web.pages import links, navigation
from web.problems.problem import Problem

STATIC = Path(__file__).with_name("static")


@cache
def environment() -> Environment:
    """The templates; all values are escaped."""
    made = Environment(
        loader=PackageLoader("web.pages"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"count": _count, "share": _share, "time": _time, "name": _name, "duration": _duration}
    made.globals |= {
        "static": static,
        "link": links.link,
        "segment": links.segment,
        "thumbnail": links.thumbnail,
        "picture_of": links.picture,
    }
    return made


def render(
    request: Request, who: Principal | None, template: str, status: int = 200, **values: Any
) -> HTMLResponse:
    """Render a page.

    Args:
        request: whose address marks the current entry in the bar.
        who: reads it; None before a login.
        template: file in `templates/`.
        status: of the answer.
        values: that the template uses.
    """
    shared = {
        "who": who,
        "entries": navigation.entries(who),
        "current": navigation.current(request.url.path),
        "open": who is not None and who.proof is Proof.OPEN,
        "address": request.url.path,
    }
    return HTMLResponse(environment().get_template(template).render(shared | values), status)


def problem_page(request: Request, problem: Problem) -> Response:
    """An error as a page: what is wrong, and the way out. Without a login it is the way to it."""
    if problem.status == 401:
        return RedirectResponse(f"/login?next={quote(request.url.path)}", 303)
    who = getattr(request.state, "who", None)
    page = render(request, who, "problem.html", problem.status, problem=problem.body())
    page.headers.update(problem.all_headers())
    return page


@cache
def static(name: str) -> str:
    """The address of a static file. It changes with the content, so that browsers may keep it for ever."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:10]
    return f"/static/{name}?v={digest}"


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _time(value: datetime | None) -> str:
    """A time in UTC, to the minute."""
    return "–" if value is None else value.strftime("%Y-%m-%d %H:%M")


def _duration(value: timedelta) -> str:
    """A round span of time in its largest unit."""
    seconds = round(value.total_seconds())
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size} {unit}{'s' if seconds > size else ''}"
    return f"{seconds} seconds"


def _name(value: str | None) -> str:
    return "–" if value is None else value.replace("_", " ")
