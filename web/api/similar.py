"""Similar pictures: those of the lake that look like a picture."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel

from web.api.uploads import PICTURE_BODY
from web.inference.similar_pictures import SimilarPicture
from web.resources.dependencies import Reviewer, Shared
from web.resources.resources import Resources
from web.uploads.body import Body

router = APIRouter(tags=["models"])

Count = Annotated[int, Query(ge=1, le=100, description="Pictures in the answer.")]


class Similar(BaseModel):
    """Similar pictures, the most similar first."""

    matches: list[SimilarPicture]


@router.post("/similar", openapi_extra=PICTURE_BODY, summary="Find pictures like a picture")
async def of_picture(request: Request, shared: Shared, who: Reviewer, count: Count = 12) -> Similar:
    """Find the pictures of the lake that are most similar to one sent as the raw body; it is not stored."""
    shared.rates.count("predictions", who.counted)
    web, limit = shared.settings.web, shared.settings.ingest.max_bytes
    async with Body(request, limit, web.body_seconds, shared.budget) as content:
        return await asyncio.get_running_loop().run_in_executor(
            shared.inference_threads, _of_picture, shared, content, count
        )


@router.get("/similar/{image_id}", summary="Find pictures like a picture of the lake")
def of_image(
    shared: Shared, who: Reviewer, image_id: Annotated[str, Path(max_length=128)], count: Count = 12
) -> Similar:
    """Find the pictures that are most similar to one of the lake."""
    return Similar(matches=shared.similar.of_image(image_id, count))


def _of_picture(shared: Resources, content: bytes, count: int) -> Similar:
    picture = shared.safe_pictures.prepare(content)
    return Similar(matches=shared.similar.of_picture(picture.jpeg, count))
