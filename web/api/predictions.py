"""Predictions: what a model sees in a picture."""

import asyncio
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from web.api.uploads import PICTURE_BODY
from web.resources.dependencies import Shared, Uploader
from web.resources.resources import Resources
from web.uploads.body import Body

router = APIRouter(tags=["models"])


class LabelProbability(BaseModel):
    """A label with its probability, 0–1."""

    label: str
    probability: float


class Prediction(BaseModel):
    """What a model sees in a picture: the most probable labels first; and the picture's quality flags."""

    model_id: str
    labels: list[LabelProbability]
    flags: list[str]


@router.post("/predict", openapi_extra=PICTURE_BODY, summary="Predict the label of a picture")
async def predict(
    request: Request,
    shared: Shared,
    who: Uploader,
    model: Annotated[str | None, Query(max_length=200, description="Default: the model in use.")] = None,
    top: Annotated[int, Query(ge=1, le=100, description="Labels in the answer.")] = 5,
) -> Prediction:
    """Predict the labels of one picture, sent as the raw body; it is not stored.

    The picture is checked and scaled as an upload is. One that an upload would be rejected for is answered
    422 with the reason.
    """
    shared.rates.count("predictions", who.counted)
    web, limit = shared.settings.web, shared.settings.ingest.max_bytes
    async with Body(request, limit, web.body_seconds, shared.budget) as content:
        return await asyncio.get_running_loop().run_in_executor(
            shared.inference_threads, _predict, shared, content, model, top
        )


def _predict(shared: Resources, content: bytes, model: str | None, top: int) -> Prediction:
    picture = shared.safe_pictures.prepare(content)
    card, probabilities = shared.classifiers.predict(picture.jpeg, model)
    best = np.argsort(-probabilities)[:top]
    labels = [LabelProbability(label=card.labels[n], probability=float(probabilities[n])) for n in best]
    return Prediction(model_id=card.model_id, labels=labels, flags=list(picture.flags))
