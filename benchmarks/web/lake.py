"""A lake of many uploads, written without Spark: the same rows that ingestion would write."""

import hashlib
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from deltalake import ColumnProperties, WriterProperties, write_deltalake
from pyspark.sql.pandas.types import to_arrow_schema

from conf.settings import Settings
from lake.pictures.pixels import encode_jpeg
from lake.schemas import EMBEDDINGS, LABELS, SAMPLES, UPLOADS
from lake.table import Table
from organize.features.embedder import embedder_of
from organize.features.vectors import to_column, to_unit

FILE_ROWS = 16_000  # as ingest.batch_records
LABEL_COUNT = 200
_START = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
_THUMBNAILS = 64  # different ones


def write(settings: Settings, images: int) -> None:
    """Write uploads, samples and labels; every twentieth upload is rejected, users and devices repeat."""
    generator = np.random.default_rng(7)
    smooth = generator.integers(0, 255, (_THUMBNAILS, 6, 6, 3), np.uint8)
    thumbnails = [encode_jpeg(np.kron(each, np.ones((16, 16, 1), np.uint8)), 85) for each in smooth]
    for first in range(0, images, FILE_ROWS):
        numbers = range(first, min(first + FILE_ROWS, images))
        rows = _rows(numbers, thumbnails)
        _append(settings, Table.UPLOADS, rows)
        samples = rows.filter(pa.compute.equal(rows["verdict"], "accepted"))
        _append(settings, Table.SAMPLES, _as(samples, to_arrow_schema(SAMPLES, timezone="UTC")))
    share = images // LABEL_COUNT
    labels = [{"label": _label(n), "accepted": share, "ready": True} for n in range(LABEL_COUNT)]
    _append(settings, Table.LABELS, pa.Table.from_pylist(labels, to_arrow_schema(LABELS)))


def write_embeddings(settings: Settings, images: int, size: int) -> None:
    """Write random vectors of the accepted images, as of the embedder of the settings."""
    generator, model_id = np.random.default_rng(5), embedder_of(settings).model_id
    for first in range(0, images, FILE_ROWS):
        accepted = [n for n in range(first, min(first + FILE_ROWS, images)) if n % 20 != 0]
        vectors = to_unit(generator.normal(0, 1, (len(accepted), size)))
        created = datetime.fromtimestamp(_START + first, UTC)
        columns = {
            "image_id": [image_id(n) for n in accepted],
            "model_id": [model_id] * len(accepted),
            "vector": to_column(vectors),
            "created": [created] * len(accepted),
        }
        schema = to_arrow_schema(EMBEDDINGS, timezone="UTC")
        rows = pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)
        write_deltalake(settings.lake.at(Table.EMBEDDINGS), rows, mode="append")


def image_id(number: int) -> str:
    """The image id of an accepted upload."""
    return hashlib.sha256(str(number).encode()).hexdigest()


def _rows(numbers: range, thumbnails: list[bytes]) -> pa.Table:
    accepted = [number % 20 != 0 for number in numbers]
    times = pa.array([int((_START + number) * 1e6) for number in numbers], pa.timestamp("us", "UTC"))
    pictures = [
        thumbnails[n % _THUMBNAILS] if good else None for n, good in zip(numbers, accepted, strict=True)
    ]
    values = {
        "topic": ["earlier"] * len(numbers),
        "partition": [0] * len(numbers),
        "offset": list(numbers),
        "upload_id": [f"{number:032x}" for number in numbers],
        "device": [f"phone-{number % 1000}" for number in numbers],
        "user": [f"user-{number % 500}" for number in numbers],
        "batch": [f"batch-{number // 5000}" for number in numbers],
        "label": [_label(number * 7919 % LABEL_COUNT) for number in numbers],
        "verdict": ["accepted" if good else "rejected" for good in accepted],
        "reason": [None if good else "truncated" for good in accepted],
        "detail": [None if good else "a part is missing" for good in accepted],
        "image_id": [image_id(n) if good else None for n, good in zip(numbers, accepted, strict=True)],
        "flags": [["dark"] if number % 10 == 1 else [] for number in numbers],
        "event_time": times, "kafka_time": times, "ingest_time": times,
        "jpeg": pictures, "thumbnail": pictures,
    }  # fmt: skip
    schema = to_arrow_schema(UPLOADS, timezone="UTC")
    columns = [
        pa.array(values[field.name], field.type)
        if field.name in values
        else pa.nulls(len(numbers), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _as(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        rows[field.name] if field.name in rows.column_names else pa.nulls(len(rows), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _append(settings: Settings, table: Table, rows: pa.Table) -> None:
    plain = ColumnProperties(dictionary_enabled=False)  # as ingestion writes pictures
    properties = WriterProperties(
        compression="SNAPPY", column_properties={"jpeg": plain, "thumbnail": plain, "upload_id": plain}
    )
    write_deltalake(settings.lake.at(table), rows, mode="append", writer_properties=properties)


def _label(number: int) -> str:
    return f"label-{number:03}"
