"""Faces: where they are in a picture, whose they look like, and how far two of them are from each other."""

import asyncio
import base64
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from models.registry.model_cards import ModelCard
from web.access.principal import Principal
from web.api.uploads import PICTURE_BODY
from web.faces import two_pictures
from web.faces.face import Box
from web.faces.gallery import Identity
from web.faces.recognizer import SeenFace, SeenPicture
from web.resources.dependencies import Shared, Uploader
from web.resources.resources import Resources
from web.uploads.body import Body

router = APIRouter(tags=["faces"])

T = TypeVar("T")

_FORM_BYTES = 4096  # of a form beside its pictures
_TWO_PICTURES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": list(two_pictures.NAMES),
                    "properties": {
                        name: {"type": "string", "format": "binary"} for name in two_pictures.NAMES
                    },
                }
            }
        },
    }
}

Model = Annotated[
    str | None, Query(max_length=200, description="Default: `faces.model`, else the newest for faces.")
]


class FoundFace(BaseModel):
    """A face: its box in pixels of the encoded picture, the detector's confidence 0–1, the nearest labels."""

    box: Box
    confidence: float
    identities: list[Identity]


class Faces(BaseModel):
    """The faces in a picture, the largest first.

    `distance` is a squared distance, 0–4; below `threshold` two pictures count as the same person, as the
    model's validation found. `compared_with` is the number of pictures of the model's dataset in which a face
    was found. `jpeg` is the encoded picture (base64), if it was asked for.
    """

    model_id: str
    threshold: float | None
    compared_with: int
    width: int
    height: int
    faces: list[FoundFace]
    jpeg: str | None = None


class ComparedPicture(BaseModel):
    """The face of a picture that was compared, its largest one, and how many the picture has."""

    box: Box
    confidence: float
    faces: int
    width: int
    height: int
    jpeg: str | None = None


class Comparison(BaseModel):
    """The squared distance of two faces, 0–4; `same` is whether it is below the model's threshold."""

    model_id: str
    distance: float
    threshold: float | None
    same: bool | None
    first: ComparedPicture
    second: ComparedPicture


Encoded = Annotated[bool, Query(description="The answer has the encoded pictures, too (base64).")]


@router.post("/faces", openapi_extra=PICTURE_BODY, summary="Find the faces in a picture")
async def find(
    request: Request,
    shared: Shared,
    who: Uploader,
    model: Model = None,
    top: Annotated[int, Query(ge=1, le=100, description="Identities of each face.")] = 3,
    jpeg: Encoded = False,
) -> Faces:
    """Find the faces in one picture, sent as the raw body, and the nearest labels of each.

    The picture is not stored. Faces are off by default (403, `faces_off`).
    """
    card = await _begin(shared, who, model)
    web, limit = shared.settings.web, shared.settings.ingest.max_bytes
    async with Body(request, limit, web.body_seconds, shared.budget) as content:
        await shared.recognizer.gallery(card)
        seen = await _run(shared, lambda: shared.recognizer.see(content, card, top))
    threshold = await _run(shared, lambda: shared.recognizer.threshold(card))
    return Faces(
        model_id=card.model_id, threshold=threshold, compared_with=seen.compared_with,
        width=seen.width, height=seen.height, jpeg=_encoded(seen, jpeg),
        faces=[_found(face) for face in seen.faces],
    )  # fmt: skip


@router.post("/compare", openapi_extra=_TWO_PICTURES, summary="Compare the faces of two pictures")
async def compare(
    request: Request, shared: Shared, who: Uploader, model: Model = None, jpeg: Encoded = False
) -> Comparison:
    """Compare the largest faces of two pictures, sent as the files `first` and `second` of a form.

    The pictures are not stored. Faces are off by default (403, `faces_off`).
    """
    card = await _begin(shared, who, model)
    web, limit = shared.settings.web, 2 * shared.settings.ingest.max_bytes + _FORM_BYTES
    async with Body(request, limit, web.body_seconds, shared.budget) as content:
        pictures = await two_pictures.parse(request.headers.get("content-type", ""), content)
        distance, seen = await _run(shared, lambda: shared.recognizer.compare(pictures, card))
    threshold = await _run(shared, lambda: shared.recognizer.threshold(card))
    first, second = (_compared(each, jpeg) for each in seen)
    return Comparison(
        model_id=card.model_id, distance=distance, threshold=threshold,
        same=None if threshold is None else distance < threshold, first=first, second=second,
    )  # fmt: skip


async def _begin(shared: Resources, who: Principal, model: str | None) -> ModelCard:
    """Count the request, and find its model, before its body is read."""
    shared.rates.count("predictions", who.counted)
    return await _run(shared, lambda: shared.recognizer.card(model))


async def _run(shared: Resources, function: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(shared.inference_threads, function)


def _found(seen: SeenFace) -> FoundFace:
    confidence = round(seen.face.confidence, 4)
    return FoundFace(box=seen.face.box, confidence=confidence, identities=list(seen.identities))


def _compared(seen: SeenPicture, jpeg: bool) -> ComparedPicture:
    face = seen.faces[0].face
    return ComparedPicture(
        box=face.box, confidence=round(face.confidence, 4), faces=len(seen.faces),
        width=seen.width, height=seen.height, jpeg=_encoded(seen, jpeg),
    )  # fmt: skip


def _encoded(seen: SeenPicture, wanted: bool) -> str | None:
    return base64.b64encode(seen.jpeg).decode() if wanted else None
