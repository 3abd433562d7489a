"""My uploads: everything a person has sent, each with its verdict, and a button that erases."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from web.data import uploads
from web.data.uploads import UploadFilter
from web.pages.rendering import render
from web.resources.dependencies import Shared, Uploader
from web.uploads import own_uploads
from web.uploads.status import State

router = APIRouter()

_LIMIT = 48


@router.get("/mine")
def index(
    request: Request, shared: Shared, who: Uploader, state: State | None = None, after: str | None = None
) -> HTMLResponse:
    """The uploads, the newest first; `?state=` names a tab."""
    pending = own_uploads.pending(shared.receipts, shared.feed, who.user)
    found, older = [], None
    if state is not State.STORED:
        verdict = None if state is None else state.value
        wanted = UploadFilter(user=who.user, verdict=verdict)
        page = uploads.page(shared.mirror, wanted, _LIMIT, after, repeated=False)
        found, older = own_uploads.with_verdicts(page.items), page.next
    if after is None:
        known = {each.id for each in found}
        new = (each for each in pending if state in (None, each.state) and each.id not in known)
        found = [*new, *found]
    return render(
        request, who, "my_uploads.html",
        uploads=found, older=older, state=state, states=list(State),
        erasure=shared.erasures.of_user(who.user),
    )  # fmt: skip


@router.get("/mine/erase")
def confirm(request: Request, shared: Shared, who: Uploader) -> HTMLResponse:
    """Say what an erasure does, before it is asked for."""
    hours = shared.settings.kafka.retention_hours
    return render(request, who, "erase.html", hours=hours, erasure=shared.erasures.of_user(who.user))


@router.post("/mine/erase")
def erase(shared: Shared, who: Uploader, user: Annotated[str, Form()]) -> Response:
    """Ask for the erasure of one's own uploads; the form repeats whose they are."""
    answer = RedirectResponse("/mine", 303)
    if user == who.user:
        shared.receipts.remove_user(user)
        shared.erasures.ask(user)
        # What this browser keeps of them: previews, verdicts, pictures that wait, cached pictures.
        answer.headers["Clear-Site-Data"] = '"cache", "storage"'
    return answer
