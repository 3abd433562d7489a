"""Lists: labels, batches, samples, dataset snapshots, models."""

from typing import Annotated

from fastapi import APIRouter, Query

from web.api.parameters import After, Limit
from web.data import catalogue
from web.data.catalogue import BatchRow, DatasetRow, LabelRow, ModelRow, SampleFilter, SampleRow
from web.data.keyset import Page
from web.resources.dependencies import Reviewer, Shared, Uploader

router = APIRouter(tags=["lists"])


@router.get("/labels", summary="List labels")
def labels(shared: Shared, who: Uploader, limit: Limit = 50, after: After = None) -> Page[LabelRow]:
    """List labels by slug, with their accepted uploads and whether they can be trained on."""
    return catalogue.LABELS.page(shared.mirror, limit, after)


@router.get("/batches", summary="List upload batches, the newest first")
def batches(shared: Shared, who: Reviewer, limit: Limit = 50, after: After = None) -> Page[BatchRow]:
    """List upload batches with their counts and the share of accepted uploads."""
    return catalogue.BATCHES.page(shared.mirror, limit, after)


@router.get("/samples", summary="List samples")
def samples(
    shared: Shared,
    who: Reviewer,
    wanted: Annotated[SampleFilter, Query()],
    limit: Limit = 50,
    after: After = None,
) -> Page[SampleRow]:
    """List images that datasets are made of, by image id."""
    return catalogue.samples(shared.mirror, wanted, limit, after)


@router.get("/datasets", summary="List dataset snapshots, the newest first")
def datasets(shared: Shared, who: Reviewer, limit: Limit = 50, after: After = None) -> Page[DatasetRow]:
    """List dataset snapshots with their labels and images by split."""
    return catalogue.DATASETS.page(shared.mirror, limit, after)


@router.get("/models", summary="List models, the newest first")
def models(shared: Shared, who: Uploader, limit: Limit = 50, after: After = None) -> Page[ModelRow]:
    """List models with their state and metrics."""
    return catalogue.MODELS.page(shared.mirror, limit, after)
