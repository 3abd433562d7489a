"""Joining from a phone: the address in the QR code of `hub serve --lan`, and the authority's certificate."""

import hmac

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from web.access.sessions import COOKIE
from web.problems.problem import Problem
from web.resources.dependencies import Shared

router = APIRouter()


@router.get("/join")
def join(request: Request, shared: Shared, token: str = "") -> Response:
    """Begin a session as an uploader of one's own, if the token is the one of the QR code."""
    shared.rates.count("logins", request.client.host if request.client else "")
    if not shared.lan or not hmac.compare_digest(token.encode(), shared.sessions.lan_token.encode()):
        raise Problem(403, "this code is not valid: scan the one that `hub serve --lan` shows", "bad_token")
    answer = RedirectResponse("/upload", 303)
    answer.set_cookie(
        COOKIE,
        shared.sessions.guest_cookie(),
        max_age=shared.sessions.seconds,
        httponly=True,
        samesite="strict",
        secure=True,
    )
    return answer


@router.get("/certificate")
def certificate(shared: Shared) -> Response:
    """The certificate of the authority that signed this server's, for phones that shall trust it."""
    file = shared.settings.web.dir / "lan" / "authority.pem"
    if not shared.lan or not file.exists():
        raise Problem(404, "this hub has no certificate of its own: start it with `hub serve --lan`")
    headers = {"Content-Disposition": 'attachment; filename="deep-images-hub.crt"'}
    return Response(file.read_bytes(), media_type="application/x-x509-ca-cert", headers=headers)
