"""The sections of hub.toml, each a frozen model that refuses what is not allowed."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from conf.places import resolved

FLAGS = ("dark", "bright", "blurry", "low_information", "odd_aspect", "odd_size", "grayscale")

_PREFIX = re.compile(r"(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]|file://(?=/))(?P<path>(/[^?#%\\\s]*)?)")

LAST_SEED = 2**32 - 1  # the largest that Keras and NumPy take

Positive = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, le=LAST_SEED)]
Seconds = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


def _object_prefix(value: str) -> str:
    """A prefix without its last slash; it names a folder, so s3://b/in does not cover s3://b/inside."""
    match = _PREFIX.fullmatch(value.rstrip("/") if value != "file:///" else "")
    parts = match["path"].split("/")[1:] if match else [""]
    if any(part in {"", ".", ".."} for part in parts):
        raise ValueError(f"{value!r} is not s3://bucket, s3://bucket/path or file:///folder")
    return value.rstrip("/")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Lake(_Section):
    """Where tables, snapshots and artifacts lie."""

    root: str

    @field_validator("root")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must be a folder or an s3a:// URI")
        return resolved(value).rstrip("/").replace("s3://", "s3a://", 1)

    def at(self, *parts: str) -> str:
        """A path or URI below the root."""
        return "/".join((self.root, *parts))


class Logs(_Section):
    """Where the output of Spark, TensorFlow and Kafka goes, and how much progress is kept."""

    dir: Path
    progress_bytes: Positive
    progress_files: Positive

    _absolute = field_validator("dir")(lambda value: Path(resolved(str(value))))


class Kafka(_Section):
    """The cluster, its topics and how to log in."""

    bootstrap: str
    topic: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
    rejected_topic: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
    partitions: Positive
    replication: Positive
    retention_hours: Positive
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
    sasl_username: str
    sasl_password: str = Field(default="", repr=False)
    connect_seconds: Seconds

    @field_validator("bootstrap")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        for address in filter(None, value.split(",")):
            host, _, port = address.strip().rpartition(":")
            if not host or not port.isdigit() or not 0 < int(port) < 65536:
                raise ValueError(f"{address!r} is not host:port")
        return value


class Broker(_Section):
    """The embedded broker."""

    dir: Path
    heap: Annotated[str, Field(pattern=r"^\d+[mg]$")]
    start_seconds: Seconds

    _absolute = field_validator("dir")(lambda value: Path(resolved(str(value))))


class Push(_Section):
    """Limits of the producer and of the sources it reads."""

    in_flight_bytes: Positive
    inline_limit: Annotated[int, Field(gt=0, le=10 * 2**20)]
    retry_seconds: Seconds
    member_limit: Positive
    ratio_limit: Positive


class Spark(_Section):
    """Masters and memory."""

    master: str
    train_master: str
    train_gpus: Annotated[int, Field(ge=0, le=1)]
    driver_memory: Annotated[str, Field(pattern=r"^\d+[mg]$")]
    executor_memory_mb: Positive
    work_dir: Path

    _absolute = field_validator("work_dir")(lambda value: Path(resolved(str(value))))


class Ingest(_Section):
    """The streaming query and the limits every upload is held to."""

    batch_records: Positive
    trigger_seconds: Annotated[float, Field(ge=0)]
    arrow_records: Positive
    arrow_bytes: Annotated[int, Field(gt=0, lt=2**31)]
    longest_side: Annotated[int, Field(ge=32, le=4096)]
    shortest_side: Positive
    thumbnail_side: Annotated[int, Field(ge=16, le=512)]
    jpeg_quality: Annotated[int, Field(ge=1, le=100)]
    max_bytes: Positive
    max_pixels: Positive
    max_scans: Positive
    max_header_bytes: Positive
    max_headers: Positive
    heic: bool
    geohash_length: Annotated[int, Field(ge=0, le=5)]
    index_dir: Path
    lease_seconds: Annotated[float, Field(ge=6)]

    _absolute = field_validator("index_dir")(lambda value: Path(resolved(str(value))))


class Decoding(_Section):
    """The decoder and what one picture may take of the machine."""

    function: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
    isolated: bool
    timeout_seconds: Seconds
    memory_mb: Positive


class Metrics(_Section):
    """Where an ingestion serves its figures to Prometheus."""

    host: str
    port: Annotated[int, Field(ge=0, lt=65536)]


class Quality(_Section):
    """Thresholds of the quality flags, and the flags that refuse an upload."""

    dark: float
    bright: float
    blurry: float
    low_information: float
    odd_aspect: float
    odd_size: tuple[Positive, Positive]
    grayscale: float
    reject: tuple[Literal[FLAGS], ...]  # type: ignore[valid-type]  # the values of a constant tuple


class Labels(_Section):
    """Which labels are taken and when one can be trained on."""

    mode: Literal["open", "closed"]
    file: Path
    ready_images: Positive

    _absolute = field_validator("file")(lambda value: Path(resolved(str(value))))


class Organize(_Section):
    """Grouping, splitting and the snapshot's shards."""

    phash_distance: Annotated[int, Field(ge=0, le=16)]
    fractions: tuple[Share, Share, Share]
    seed: Seed
    shard_rows: Positive
    row_group_rows: Positive
    no_flip_parents: tuple[str, ...]

    @field_validator("fractions")
    @classmethod
    def _sum_to_one(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if abs(sum(value) - 1) > 1e-9 or value[0] == 0:
            raise ValueError("train, validation and test must sum to 1, with something to train on")
        return value


class Train(_Section):
    """Defaults of a training run."""

    arch: str
    epochs: Positive
    batch_size: Annotated[int, Field(ge=0)]
    learning_rate: Annotated[float, Field(gt=0)]
    warmup_epochs: Annotated[float, Field(ge=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    seed: Seed
    embedding: Positive
    triplet_margin: Annotated[float, Field(gt=0, lt=4)]
    images_per_label: Annotated[int, Field(ge=2)]
    cache_mb: Annotated[int, Field(ge=0)]
    randaugment: Annotated[int, Field(ge=0, le=10)]
    randaugment_magnitude: Annotated[float, Field(ge=0, le=10)]
    mixup: Annotated[float, Field(ge=0)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"]
    normalization: Literal["synchronized", "local"]
    pixels: Literal["auto", "unit", "caffe"]
    timeout_seconds: Positive
    start_seconds: Positive
    stall_seconds: Annotated[int, Field(ge=5)]
    work_seconds: Positive
    retries: Annotated[int, Field(ge=0)]
    keep_checkpoints: Positive
    lease_seconds: Annotated[float, Field(ge=6)]


class Payloads(_Section):
    """Pictures that travel as a reference: where they are put, and where they may be fetched from."""

    prefix: str
    inline_limit: Positive
    allowed: tuple[str, ...]
    threads: Annotated[int, Field(gt=0, le=64)]
    seconds: Seconds
    pause_seconds: Annotated[float, Field(ge=0)]

    @field_validator("prefix")
    @classmethod
    def _prefix_or_none(cls, value: str) -> str:
        return _object_prefix(value) if value else value

    @field_validator("allowed")
    @classmethod
    def _prefixes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_object_prefix, value))


class S3(_Section):
    """The object store; credentials come from the AWS environment variables."""

    endpoint: Annotated[str, Field(pattern=r"^(https?://\S+)?$")]
    region: str
    path_style: bool
    connect_seconds: Seconds
    read_seconds: Seconds
    attempts: Positive
    backoff_seconds: Annotated[float, Field(ge=0)]
    threads: Annotated[int, Field(gt=0, le=64)]
    read_ahead_bytes: Positive
