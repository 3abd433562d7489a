"""Refuses requests that another site makes a browser send, and names of this host that others invented.

A browser says with `Sec-Fetch-Site`, or else with `Origin`, which site a request comes from. A request that
may change something must come from the hub's own pages, or from a program, which sends neither. So no form
needs a token. Source: OWASP, Cross-Site Request Forgery Prevention, Fetch Metadata.
"""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from web.problems.problem import Problem

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class SameOrigin:
    """Middleware that answers 403 to requests from other sites.

    Args:
        app: the application.
        hosts: names by which browsers may address this server; empty: any. Without it, a site could let its
            own name point to 127.0.0.1 and read an open hub (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] = frozenset()) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http" and (why := self._refusal(scope["method"], Headers(scope=scope))):
            problem = Problem(403, why, "other_origin")
            answer = JSONResponse(
                problem.body(), 403, headers=problem.all_headers(), media_type="application/problem+json"
            )
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, method: str, headers: Headers) -> str | None:
        host = headers.get("host", "")
        if self._hosts and _name(f"//{host}") not in self._hosts:
            return f"this hub does not answer to the name {host!r}: open it as localhost"
        if method in _SAFE_METHODS:
            return None
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site is not None:
            return (
                None if site in {"same-origin", "none"} else f"the request comes from another site ({site})"
            )
        if site is None and origin is not None and urlsplit(origin).netloc != host:
            return f"the request comes from another site ({origin[:100]!r})"
        return None


def _name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
