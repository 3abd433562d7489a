"""Duration of a micro-batch by the size of the ledger: 20,000 rows against 2,000,000."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import Column
from pyspark.sql import functions as f

from benchmarks.ground import fill_topic
from conf.sections import Lake
from conf.settings import Settings
from lake import tables
from lake.schemas import SAMPLES, UPLOADS
from lake.table import Table
from streaming.ingestion import Ingestion, IngestReport

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SMALL, LARGE = 20_000, 2_000_000
_IMAGES = 2_000
_ROUNDS = 6  # the first warms up and is not counted
_ROWS_IN_A_FILE = 20_000


def measure(settings: Settings, bootstrap: str, spark: "SparkSession", folder: Path) -> dict[str, float]:
    """Seconds to ingest 2,000 images, alternating between both ledgers.

    Returns:
        medians of a micro-batch of the ledger and of the complete `hub ingest --once` with samples, labels
        and dead letters; their ratios; the time to rebuild the local index.
    """
    lakes = {rows: _make_lake(settings, spark, rows) for rows in (SMALL, LARGE)}
    ledger: dict[int, list[float]] = {SMALL: [], LARGE: []}
    complete: dict[int, list[float]] = {SMALL: [], LARGE: []}
    for turn in range(_ROUNDS):
        for rows, own in lakes.items():
            fill_topic(own, bootstrap, folder, _IMAGES, f"growth-{turn}")
            report = IngestReport()
            begun = time.monotonic()
            Ingestion(spark, own, bootstrap).once(report)
            assert report.accepted == _IMAGES, report
            ledger[rows].append(report.ledger_seconds)
            complete[rows].append(time.monotonic() - begun)
    return {
        "batch_seconds_at_20_000_rows": _median(ledger[SMALL]),
        "batch_seconds_at_2_000_000_rows": _median(ledger[LARGE]),
        "batch_ratio": _median(ledger[LARGE]) / _median(ledger[SMALL]),
        "all_tables_seconds_at_20_000_rows": _median(complete[SMALL]),
        "all_tables_seconds_at_2_000_000_rows": _median(complete[LARGE]),
        "all_tables_ratio": _median(complete[LARGE]) / _median(complete[SMALL]),
        "making_the_indexes_anew_seconds": complete[LARGE][0] - _median(complete[LARGE]),
    }


def _median(seconds: list[float]) -> float:
    counted = sorted(seconds[1:])
    return counted[len(counted) // 2]


def _make_lake(settings: Settings, spark: "SparkSession", rows: int) -> Settings:
    """Create a lake with generated rows without pixels; returns its settings."""
    topic = f"growth-{rows}"
    lake = Lake(root=f"{settings.lake.root}/{topic}")
    tables.create(spark, lake)
    numbers = spark.range(0, rows, 1, max(1, rows // _ROWS_IN_A_FILE))
    image = f.sha2(f.col("id").cast("string"), 256)
    common = {
        "image_id": image,
        "upload_id": f.concat(f.lit("grown-"), f.col("id")),
        "label": f.concat(f.lit("label"), f.col("id") % 10),
        "device": f.concat(f.lit("phone-"), f.col("id") % 1000),
        "event_time": f.timestamp_seconds(f.lit(1_790_000_000) + f.col("id")),
        "phash": f.xxhash64("id"),
        "flags": f.array().cast("array<string>"),
    }
    uploads = common | {
        "topic": f.lit("elsewhere"), "partition": f.lit(0), "offset": f.col("id"),
        "verdict": f.lit("accepted"), "ingest_batch": f.lit(0).cast("long"),
    }  # fmt: skip
    _write(numbers, uploads, lake, Table.UPLOADS)
    _write(numbers, common | {"label_source": f.lit("claimed")}, lake, Table.SAMPLES)
    kafka = settings.kafka.model_copy(
        update={
            "topic": topic,
            "rejected_topic": f"{topic}.rejected",
            "verdicts_topic": f"{topic}.verdicts",
        }
    )
    return settings.model_copy(update={"lake": lake, "kafka": kafka})


def _write(numbers: "DataFrame", columns: dict[str, Column], lake: Lake, table: Table) -> None:
    schema = UPLOADS if table is Table.UPLOADS else SAMPLES
    rows = numbers.select(
        *(
            columns[field.name].cast(field.dataType).alias(field.name)
            if field.name in columns
            else f.lit(None).cast(field.dataType).alias(field.name)
            for field in schema
        )
    )
    rows.write.format("delta").mode("append").save(lake.at(table))
