"""Uploads: send a picture, ask what became of it, and wait for verdicts."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel

from streaming.contract.verdict_record import VerdictRecord
from web.access.principal import Principal
from web.api.parameters import After, Limit
from web.data import uploads
from web.data.keyset import Page
from web.data.stored_pictures import Size
from web.data.uploads import LedgerUpload, UploadFilter
from web.problems.problem import Problem
from web.resources.dependencies import Shared, Uploader
from web.resources.resources import Resources
from web.uploads import own_uploads, request_fields, status
from web.uploads.body import Body
from web.uploads.receipts import Receipt
from web.uploads.sender import taken
from web.uploads.status import UploadStatus

router = APIRouter(prefix="/uploads", tags=["uploads"])

UploadId = Annotated[str, Path(description="The id of the upload (`ce_id`).", max_length=200)]

_PING_SECONDS = 15.0

PICTURE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The picture as the camera made it: JPEG, PNG, WebP, HEIC or AVIF.",
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("image/jpeg", "image/png", "image/webp", "image/heic", "image/avif",
                         "application/octet-stream")
        },
    }
}  # fmt: skip
"""The body of a request that sends a picture, for the schema."""

_ATTRIBUTES: dict[str, Any] = {
    "parameters": [
        {
            "name": name, "in": "query", "schema": {"type": "string"},
            "required": name == "label", "description": text,
        }
        for name, text in {
            "label": "What the picture shows, as people write it.",
            "id": "Unique for the upload. Sending it again with the same id is safe. Default: a random one.",
            "time": "When it was sent (RFC 3339). Default: now.",
            "device": "Id of the device; an API key has its own.",
            "batch": "Id of a batch of uploads.",
            "geo": "Where it was taken: lat,lon in degrees.",
            "sha256": "Of the picture (hex); a body that was damaged on its way is refused.",
            "user": "For admins only: whom the upload belongs to.",
        }.items()
    ],
}  # fmt: skip


class Stored(BaseModel):
    """An upload that Kafka has acknowledged; its verdict follows."""

    id: str
    status: str


@router.post("", status_code=202, openapi_extra=PICTURE_BODY | _ATTRIBUTES, summary="Send a picture")
async def send(request: Request, response: Response, shared: Shared, who: Uploader) -> Stored:
    """Send one picture as the raw body.

    Its label and other attributes are query parameters, or CloudEvents headers such as `ce-label`. The answer
    comes when Kafka has acknowledged it. If it fails with 503 or 429, send it again after Retry-After with
    the same id.
    """
    shared.rates.count_upload(who)
    attributes = request_fields.fields(request.headers, request.query_params, who)
    known = await asyncio.to_thread(_owner, shared, attributes["id"])
    if known is not None and known != attributes["user"]:
        raise taken(attributes["id"])
    web, limit = shared.settings.web, shared.settings.ingest.max_bytes
    limit = min(limit, who.limits.upload_bytes or limit)
    async with Body(request, limit, web.body_seconds, shared.budget) as content:
        if known is None:
            shared.rates.refuse_bytes(who, len(content))
            record = await asyncio.to_thread(request_fields.record, content, attributes, shared.rules)
            await shared.sender.send(record, _receipt(attributes))
            shared.rates.count_bytes(who, len(content))
            shared.metrics.count_stored(len(content))
    location = f"/api/v1/uploads/{attributes['id']}"
    response.headers["Location"] = location
    return Stored(id=attributes["id"], status=location)


@router.get("", summary="List uploads, the newest first")
def index(
    shared: Shared,
    who: Uploader,
    wanted: Annotated[UploadFilter, Query()],
    limit: Limit = 50,
    after: After = None,
) -> Page[UploadStatus]:
    """List uploads with their verdicts; uploaders see their own only. Those without a verdict come first."""
    user = who.user if not who.sees(wanted.user) else wanted.user
    if wanted.user is not None and user != wanted.user:
        raise Problem(403, f"{who.user!r} sees their own uploads only")
    found = uploads.page(shared.mirror, UploadFilter(**vars(wanted) | {"user": user}), limit, after)
    listed = own_uploads.with_verdicts(found.items)
    return Page(items=_pending(shared, who, wanted, after, listed) + listed, next=found.next)


@router.get("/verdicts", response_class=EventSourceResponse, summary="Verdicts as they come (SSE)")
async def verdicts(
    shared: Shared,
    who: Uploader,
    request: Request,
    device: Annotated[str | None, Query(description="Only of this device.")] = None,
    last_event_id: Annotated[str | None, Header(max_length=4000)] = None,
    last: Annotated[str | None, Query(max_length=4000, description="As Last-Event-ID.")] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Verdicts on one's own uploads as server-sent events of type `verdict`.

    After a break, a client that sends Last-Event-ID gets the verdicts that it has missed. An event `reset`
    says that some may be missing: ask for the uploads again.
    """
    with shared.feed.reader(last_event_id or last) as queue:
        yield ServerSentEvent(comment="connected", retry=2000)
        while not request.app.state.stopping.is_set():
            try:
                event = await asyncio.wait_for(queue.get(), 1.0)
            except TimeoutError:
                continue
            if event is None:
                yield ServerSentEvent(event="reset", data={})
            elif not _concerns(event.verdict, who, device):
                continue
            elif event.told:  # an event without data moves the place and is shown to nobody
                yield ServerSentEvent(id=event.id)
            else:
                told = status.of_verdict(event.verdict)
                yield ServerSentEvent(event="verdict", id=event.id or None, data=told)


@router.get("/{upload_id}", summary="What became of an upload")
def show(shared: Shared, who: Uploader, upload_id: UploadId) -> UploadStatus:
    """The verdict on an upload, from the topic of verdicts or the ledger; `stored` until there is one."""
    verdict = shared.feed.get(upload_id) or uploads.find(shared.mirror, upload_id)
    found: UploadStatus | None = None
    if verdict is not None and verdict.verdict != "erased":
        found = status.of_verdict(verdict)
    elif verdict is None and (receipt := shared.receipts.get(upload_id)) is not None:
        found = status.of_receipt(receipt)
    if found is None or not who.sees(found.user):
        raise _unknown(upload_id)
    return found


@router.get(
    "/{upload_id}/picture",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}},
    summary="The picture of an accepted upload",
)
def picture(
    request: Request, shared: Shared, who: Uploader, upload_id: UploadId, size: Size = Size.PICTURE
) -> Response:
    """The picture as the hub stores it: decoded, scaled down and encoded again as JPEG."""
    upload = uploads.find(shared.mirror, upload_id)
    if upload is None or not who.sees(upload.user):
        raise _unknown(upload_id)
    return _picture(shared, upload, size, request.headers.get("if-none-match"))


def _picture(shared: Resources, upload: LedgerUpload, size: Size, known: str | None) -> Response:
    content = shared.pictures.read(upload, size)
    if content is None:
        raise Problem(404, f"upload {upload.upload_id} has no stored picture: it was {upload.verdict}")
    tag = f'"{blake2b(content, digest_size=12).hexdigest()}"'
    # For a day only: an erased picture also disappears from browsers that have seen it.
    headers = {"Cache-Control": "private, max-age=86400, immutable", "ETag": tag}
    if known is not None and tag in known:
        return Response(status_code=304, headers=headers)
    headers["Content-Disposition"] = "inline"
    return Response(content, media_type="image/jpeg", headers=headers)


def _owner(shared: Resources, upload_id: str) -> str | None:
    """The user of an upload that is stored already."""
    receipt = shared.receipts.get(upload_id)
    if receipt is not None:
        return receipt.user
    found: VerdictRecord | LedgerUpload | None = shared.feed.get(upload_id)
    if found is None and shared.known_ids.may_have(upload_id):
        found = uploads.find(shared.mirror, upload_id)
    return None if found is None else found.user or ""


def _receipt(attributes: dict[str, str]) -> Receipt:
    return Receipt(
        attributes["id"],
        attributes["user"],
        attributes["source"].removeprefix("/devices/"),
        attributes.get("batch"),
        attributes["label"],
        datetime.now(UTC).isoformat(),
    )


def _pending(
    shared: Resources, who: Principal, wanted: UploadFilter, after: str | None, listed: list[UploadStatus]
) -> list[UploadStatus]:
    """Own uploads without a row in the ledger, on the first page of a list that has no other filter."""
    others = {**vars(wanted), "user": None, "device": None}
    if after is not None or any(others.values()):
        return []
    known = {each.id for each in listed}
    found = own_uploads.pending(shared.receipts, shared.feed, wanted.user or who.user, wanted.device)
    return [each for each in found if each.id not in known]


def _concerns(verdict: VerdictRecord | LedgerUpload, who: Principal, device: str | None) -> bool:
    return verdict.upload_id is not None and who.sees(verdict.user) and device in (None, verdict.device)


def _unknown(upload_id: str) -> Problem:
    return Problem(404, f"no upload {upload_id!r} of yours is known")
