"""FastAPI dependencies: the shared resources, and who sends the request.

A function that answers requests names what it needs by type: `shared: Shared`, `who: Uploader`. It is then
only called for somebody with that role.

Dependencies that wait for nothing are `async`: FastAPI runs others in a thread, which takes longer.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from web.access import sessions
from web.access.principal import LOCAL, Principal, Role
from web.problems.problem import Problem
from web.resources.resources import Resources

_bearer = HTTPBearer(auto_error=False, description="An API key: `hub keys add` makes one.")
_cookie = APIKeyCookie(name=sessions.COOKIE, auto_error=False, description="The session of a login.")


async def resources(request: Request) -> Resources:
    """The resources of this server."""
    found = request.app.state.resources
    assert isinstance(found, Resources)
    return found


Shared = Annotated[Resources, Depends(resources)]


def anybody(
    request: Request,
    shared: Shared,
    key: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    cookie: Annotated[str | None, Security(_cookie)],
) -> Principal | None:
    """Who sends the request: by an API key, else by a session, else nobody.

    Raises:
        Problem: 401, the key is unknown or revoked.
    """
    request.state.who = who = _identify(shared, key, cookie)  # the page of an error shows it
    return who


def _identify(
    shared: Resources, key: HTTPAuthorizationCredentials | None, cookie: str | None
) -> Principal | None:
    if key is not None:
        holder = shared.accounts.key_holder(key.credentials)
        if holder is None:
            raise Problem(401, "this API key is unknown or revoked", headers={"WWW-Authenticate": "Bearer"})
        return holder
    if shared.opened and not shared.accounts.exist():
        return LOCAL
    return shared.sessions.principal(cookie) if cookie else None


Anybody = Annotated[Principal | None, Depends(anybody)]


def _with_role(role: Role) -> Callable[[Principal | None], Awaitable[Principal]]:
    async def check(who: Anybody) -> Principal:
        if who is None:
            raise Problem(
                401, "log in, or send an API key as `Authorization: Bearer KEY`",
                headers={"WWW-Authenticate": "Bearer"},
            )  # fmt: skip
        if not who.may(role):
            raise Problem(403, f"this needs the role {role}; {who.user!r} has the role {who.role}")
        return who

    return check


Uploader = Annotated[Principal, Depends(_with_role(Role.UPLOADER))]
Reviewer = Annotated[Principal, Depends(_with_role(Role.REVIEWER))]
Trainer = Annotated[Principal, Depends(_with_role(Role.TRAINER))]
Admin = Annotated[Principal, Depends(_with_role(Role.ADMIN))]
