"""Lakes written without Spark, for tests of what reads them: ledger rows of uploads, samples and labels."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from pyspark.sql.pandas.types import to_arrow_schema

from conf.settings import Settings
from lake.schemas import SCHEMAS
from lake.table import Table
from tests.support import pictures

START = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


@cache
def _picture() -> bytes:
    return pictures.jpeg(seed=1)


def upload_row(number: int, **changed: Any) -> dict[str, Any]:
    """A ledger row of an accepted upload; each number has another id, time and image."""
    time = START + timedelta(seconds=number)
    return {
        "topic": "images", "partition": 0, "offset": number, "upload_id": f"upload-{number:06}",
        "device": f"phone-{number % 7}", "user": f"user-{number % 7}", "batch": "tests",
        "label": ("cat", "dog")[number % 2], "label_name": ("Cat", "dog")[number % 2], "geohash": "u33db",
        "verdict": "accepted", "reason": None, "detail": None,
        "image_id": hashlib.sha256(str(number).encode()).hexdigest(), "bytes": 1000, "format": "jpeg",
        "width": 640, "height": 480, "phash": number, "flags": ["dark"] if number % 5 == 0 else [],
        "metrics": {"brightness": 80.0, "sharpness": 200.0, "entropy": 6.0, "chroma": 20.0, "aspect": 1.3},
        "taken_at": None, "event_time": time, "kafka_time": time, "ingest_time": time, "ingest_batch": 0,
        "jpeg": _picture(), "thumbnail": _picture(), "payload": None, "headers": None,
    } | changed  # fmt: skip


def rejected_row(number: int, reason: str, payload: bytes = b"no picture", **changed: Any) -> dict[str, Any]:
    """A ledger row of a rejected upload."""
    empty = dict.fromkeys(("image_id", "format", "width", "height", "phash", "metrics", "jpeg", "thumbnail"))
    told = {"verdict": "rejected", "reason": reason, "detail": f"because of {reason}", "flags": []}
    return upload_row(number) | empty | told | {"payload": payload} | changed


def sample_row(number: int, **changed: Any) -> dict[str, Any]:
    """The sample of the upload of the same number."""
    upload = upload_row(number)
    same = ("image_id", "label", "flags", "phash", "upload_id", "device", "user", "batch", "event_time")
    return {name: upload[name] for name in same} | {"label_source": "claimed"} | changed


def append(settings: Settings, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append rows to a table in one commit; absent columns are null."""
    _write(settings, table, rows, "append")


def overwrite(settings: Settings, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
    """Replace a table's rows, as a merge or an erasure replaces files."""
    _write(settings, table, rows, "overwrite")


def _write(settings: Settings, table: Table, rows: Iterable[Mapping[str, Any]], mode: Any) -> None:
    schema = to_arrow_schema(SCHEMAS[table], timezone="UTC")
    values = [{name: row.get(name) for name in schema.names} for row in rows]
    write_deltalake(settings.lake.at(table), pa.Table.from_pylist(values, schema=schema), mode=mode)


def delete_old_files(settings: Settings, table: Table) -> None:
    """Delete the files of old versions, as an erasure does."""
    DeltaTable(settings.lake.at(table)).vacuum(0, dry_run=False, enforce_retention_duration=False)
