"""Rejected uploads, by reason, with what is safe to show of them."""

import threading

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from web.api.parameters import After
from web.data import uploads
from web.data.browse import ledger_groups
from web.data.uploads import UploadFilter
from web.pages.rendering import render
from web.pictures import specimen
from web.problems.problem import Problem
from web.resources.dependencies import Reviewer, Shared
from web.uploads.advice import advice

router = APIRouter()

_LIMIT = 24
# One at a time: a hostile picture may need hundreds of megabytes while it is decoded.
_decoding = threading.Lock()


@router.get("/rejected")
def index(
    request: Request,
    shared: Shared,
    who: Reviewer,
    reason: str | None = None,
    batch: str | None = None,
    device: str | None = None,
    after: After = None,
) -> HTMLResponse:
    """Rejected uploads, the newest first; `?reason=`, `?batch=` and `?device=` filter."""
    wanted = UploadFilter(
        verdict="rejected", reason=reason or None, batch=batch or None, device=device or None
    )
    page = uploads.page(shared.mirror, wanted, _LIMIT, after)
    return render(
        request, who, "rejected.html",
        page=page,
        reasons=ledger_groups.parts(shared.mirror, "reason", "rejected", wanted.batch),
        advice={each.reason: advice(each.reason) for each in page.items},
        wanted=wanted,
        after=after,
    )  # fmt: skip


@router.get("/rejected/{upload_id}/preview")
def preview(shared: Shared, who: Reviewer, upload_id: str) -> Response:
    """What can be decoded of a rejected upload, encoded again; a drawing that says so if nothing can be."""
    upload = uploads.find(shared.mirror, upload_id)
    if upload is None or upload.verdict != "rejected":
        raise Problem(404, f"no rejected upload {upload_id[:80]!r} is known")
    with _decoding:
        jpeg = specimen.preview(shared.pictures.payload(upload)).jpeg
    headers = {"Cache-Control": "private, max-age=86400, immutable"}
    if jpeg is None:
        return Response(_NOTHING, media_type="image/svg+xml", headers=headers)
    return Response(jpeg, media_type="image/jpeg", headers=headers)


_NOTHING = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72"><rect width="72" height="72" fill="#8883"/>'
    '<path d="M24 24l24 24M48 24l-24 24" stroke="#888" stroke-width="4" stroke-linecap="round"/></svg>'
)
