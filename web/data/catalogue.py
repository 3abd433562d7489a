"""Labels, batches, samples, dataset snapshots and models in the copies, in pages."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from web.data.keyset import Listing, Page, Where
from web.data.mirror import Mirror


@dataclass(frozen=True)
class LabelRow:
    """A label: its slug, parent, name, number of accepted uploads, and whether it can be trained on."""

    label: str
    parent: str | None
    display_name: str | None
    accepted: int
    ready: bool


@dataclass(frozen=True)
class BatchRow:
    """An upload batch: counts, the share of accepted uploads, and the first and last ingest time (UTC)."""

    batch: str
    submitted: int
    accepted: int
    rejected: int
    quality: float
    begun: datetime
    last: datetime


@dataclass(frozen=True)
class SampleRow:
    """An image of the samples, as in the table; times in UTC."""

    image_id: str
    label: str | None
    label_source: str | None
    label_quality: float | None
    suggested_label: str | None
    duplicate_group: str | None
    cluster: str | None
    split: str | None
    flags: tuple[str, ...]
    upload_id: str | None
    device: str | None
    user: str | None
    batch: str | None
    event_time: datetime | None


@dataclass(frozen=True)
class DatasetRow:
    """A dataset snapshot: its labels in the order of their index, images by split, when it was made (UTC)."""

    dataset_id: str
    labels: tuple[str, ...]
    counts: dict[str, int]
    seed: int | None
    manifest_sha256: str | None
    created: datetime | None


@dataclass(frozen=True)
class ModelRow:
    """A model: what it was trained on, its state and metrics; times in UTC."""

    model_id: str
    dataset_id: str | None
    architecture: str | None
    workers: int | None
    metrics: dict[str, float]
    state: str | None
    detail: str | None
    created: datetime | None
    finished: datetime | None
    seconds: float | None


class SampleFilter(BaseModel):
    """Which samples a page lists; None means any. `flag` is one that the image has."""

    model_config = ConfigDict(frozen=True)

    label: str | None = None
    device: str | None = None
    user: str | None = None
    batch: str | None = None
    split: str | None = None
    cluster: str | None = None
    duplicate_group: str | None = None
    flag: str | None = None


def _sample(row: Mapping[str, Any]) -> SampleRow:
    return SampleRow(**dict(row) | {"flags": tuple(row["flags"] or ())})


def _dataset(row: Mapping[str, Any]) -> DatasetRow:
    values = {"labels": tuple(row["labels"] or ()), "counts": dict(row["counts"] or {})}
    return DatasetRow(**dict(row) | values)


def _model(row: Mapping[str, Any]) -> ModelRow:
    return ModelRow(**dict(row) | {"metrics": dict(row["metrics"] or {})})


LABELS = Listing(
    "labels",
    tuple(LabelRow.__dataclass_fields__),
    {"label": "VARCHAR"},
    lambda row: LabelRow(**row | {"accepted": row["accepted"] or 0, "ready": bool(row["ready"])}),
)
BATCHES = Listing(
    "batches",
    tuple(BatchRow.__dataclass_fields__),
    {"last": "TIMESTAMP", "batch": "VARCHAR"},
    lambda row: BatchRow(**row),
    descending=True,
)
SAMPLES = Listing("samples", tuple(SampleRow.__dataclass_fields__), {"image_id": "VARCHAR"}, _sample)
_CREATED = {"created": "TIMESTAMP"}
DATASETS = Listing(
    "datasets",
    tuple(DatasetRow.__dataclass_fields__),
    _CREATED | {"dataset_id": "VARCHAR"},
    _dataset,
    descending=True,
)
MODELS = Listing(
    "models",
    tuple(ModelRow.__dataclass_fields__),
    _CREATED | {"model_id": "VARCHAR"},
    _model,
    descending=True,
)


def samples(mirror: Mirror, wanted: SampleFilter, limit: int, after: str | None = None) -> Page[SampleRow]:
    """A page of samples, by image id."""
    where = Where().equal(**vars(wanted) | {"flag": None})
    if wanted.flag is not None:
        where = where.holds("list_contains(flags, $flag)", flag=wanted.flag)
    return SAMPLES.page(mirror, limit, after, where)
