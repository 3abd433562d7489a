"""The sections [web] and [faces] of hub.toml."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from conf.value_types import Positive, Seconds, WorkFolder


class Web(BaseModel):
    """The HTTP server: where it listens, how fresh its copy of the tables is, sizes and rates."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=0, lt=65536)]
    dir: WorkFolder
    refresh_seconds: Seconds
    upload_bytes: Annotated[int, Field(ge=10 * 2**20)]
    body_seconds: Seconds
    acknowledge_seconds: Seconds
    uploads_per_minute: Positive
    upload_bytes_per_hour: Positive
    predictions_per_minute: Positive
    logins_per_minute: Positive
    session_hours: Annotated[float, Field(gt=0)]
    licence: Annotated[str, Field(min_length=1)]
    threads: Annotated[int, Field(gt=0, le=64)]
    trainings_at_once: Annotated[int, Field(ge=0)]
    review_agreement: Annotated[int, Field(gt=0, le=5)]
    secret: str = Field(default="", repr=False)


class Faces(BaseModel):
    """Faces in pictures: off unless somebody turns them on, because they are biometric data."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    enabled: bool
    model: Annotated[str, Field(max_length=200)]
    longest_side: Annotated[int, Field(ge=128, le=4096)]
    smallest_face: Annotated[int, Field(ge=20, le=1000)]
    margin: Annotated[float, Field(ge=0, le=1)]
    gallery_pictures: Annotated[int, Field(gt=0, le=50_000)]
