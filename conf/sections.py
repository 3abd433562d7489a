"""The sections of hub.toml as frozen pydantic models that validate their values."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator

from conf import places
from conf.choices import Flag, Pixels
from conf.value_types import AbsolutePath, Positive, Seconds, Section, Seed, WorkFolder

_PREFIX = re.compile(r"(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]|file://(?=/))(?P<path>(/[^?#%\\\s]*)?)")


def _object_prefix(value: str) -> str:
    """Validate a prefix and strip its last slash. It names a folder: s3://b/in does not match s3://b/inside."""
    match = _PREFIX.fullmatch(value.rstrip("/") if value != "file:///" else "")
    parts = match["path"].split("/")[1:] if match else [""]
    if any(part in {"", ".", ".."} for part in parts):
        raise ValueError(f"{value!r} is not s3://bucket, s3://bucket/path or file:///folder")
    return value.rstrip("/")


class Lake(Section):
    """Where tables, dataset snapshots and model artifacts are stored."""

    root: Annotated[str, AfterValidator(places.lake_root)]

    def at(self, *parts: str) -> str:
        """A path or URI below the root."""
        return "/".join((self.root, *parts))


class Logs(Section):
    """The folder for the logs of Spark, TensorFlow and Kafka, and the rotation of progress.jsonl."""

    dir: WorkFolder
    progress_bytes: Positive
    progress_files: Positive


class Kafka(Section):
    """The Kafka cluster, its topics and the login."""

    bootstrap: str
    topic: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
    rejected_topic: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
    verdicts_topic: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
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


class Broker(Section):
    """The embedded Kafka broker."""

    dir: WorkFolder
    heap: Annotated[str, Field(pattern=r"^\d+[mg]$")]
    start_seconds: Seconds


class Push(Section):
    """Limits of the producer and of the sources it reads."""

    in_flight_bytes: Positive
    inline_limit: Annotated[int, Field(gt=0, le=10 * 2**20)]
    retry_seconds: Seconds
    member_limit: Positive
    ratio_limit: Positive


class Spark(Section):
    """Spark masters, memory, GPUs, and the cores of a cluster that each command takes."""

    master: str
    train_master: str
    train_gpus: Annotated[int, Field(ge=0)]
    driver_memory: Annotated[str, Field(pattern=r"^\d+[mg]$")]
    executor_memory_mb: Positive
    work_dir: WorkFolder
    ingest_cores: Annotated[int, Field(ge=0)]
    batch_cores: Annotated[int, Field(ge=0)]
    sql_cores: Annotated[int, Field(ge=0)]
    train_cores: Positive
    dynamic_allocation: bool
    wait_seconds: Annotated[float, Field(ge=0)]
    master_page: Annotated[str, Field(pattern=r"^(https?://\S+)?$")]


class Ingest(Section):
    """The streaming query, and the limits that every upload is checked against."""

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
    index_dir: WorkFolder
    lease_seconds: Annotated[float, Field(ge=6)]


class Decoding(Section):
    """The decoder process, and the time and memory that it may use for one picture."""

    function: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
    isolated: bool
    seccomp: bool
    timeout_seconds: Seconds
    memory_mb: Positive


class Metrics(Section):
    """The address at which an ingestion serves Prometheus metrics."""

    host: str
    port: Annotated[int, Field(ge=0, lt=65536)]


class Quality(Section):
    """Thresholds of the quality flags, and the flags that reject an upload."""

    dark: float
    bright: float
    blurry: float
    low_information: float
    odd_aspect: float
    odd_size: tuple[Positive, Positive]
    grayscale: float
    reject: tuple[Flag, ...]


class Labels(Section):
    """Which labels are accepted, and how many images a label needs for training."""

    mode: Literal["open", "closed"]
    file: AbsolutePath
    ready_images: Positive


class Train(Section):
    """Defaults of a training run."""

    arch: str
    epochs: Positive
    batch_size: Annotated[int, Field(ge=0)]
    learning_rate: Annotated[float, Field(gt=0)]
    warmup_epochs: Annotated[float, Field(ge=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    pretrained_rate: Annotated[float, Field(gt=0)]
    unfrozen_rate: Annotated[float, Field(gt=0)]
    seed: Seed
    embedding: Positive
    triplet_margin: Annotated[float, Field(gt=0, lt=4)]
    images_per_label: Annotated[int, Field(ge=2)]
    cache_mb: Annotated[int, Field(ge=0)] | Literal["auto"]
    randaugment: Annotated[int, Field(ge=0, le=10)]
    randaugment_magnitude: Annotated[float, Field(ge=0, le=10)]
    mixup: Annotated[float, Field(ge=0)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"]
    jit: Literal["auto", "on", "off"]
    deterministic: bool
    normalization: Literal["auto", "synchronized", "local", "frozen"]
    pixels: Literal["auto"] | Pixels
    timeout_seconds: Positive
    start_seconds: Positive
    stall_seconds: Annotated[int, Field(ge=5)]
    work_seconds: Positive
    retries: Annotated[int, Field(ge=0)]
    keep_checkpoints: Positive
    lease_seconds: Annotated[float, Field(ge=6)]


class Payloads(Section):
    """Pictures sent by reference: where push stores them, and which prefixes ingestion may fetch from."""

    prefix: str
    inline_limit: Positive
    allowed: tuple[str, ...]
    threads: Annotated[int, Field(gt=0, le=64)]
    seconds: Seconds
    pause_seconds: Annotated[float, Field(ge=0)]

    _prefix_or_empty = field_validator("prefix")(lambda value: _object_prefix(value) if value else value)
    _prefixes = field_validator("allowed")(lambda value: tuple(map(_object_prefix, value)))


class S3(Section):
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
