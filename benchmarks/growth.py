"""Whether a micro-batch takes longer on a ledger of two million rows than on one of twenty thousand."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import Column
from pyspark.sql import functions as f

from benchmarks.ground import filled
from conf.sections import Lake
from conf.settings import Settings
from lake import tables
from lake.schemas import SAMPLES, UPLOADS, Table
from streaming.ingestion import Ingestion, IngestReport

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SMALL, LARGE = 20_000, 2_000_000
_IMAGES = 2_000
_ROUNDS = 6  # the first of each warms up and is not counted
_ROWS_IN_A_FILE = 20_000


def measured(settings: Settings, bootstrap: str, spark: "SparkSession", folder: Path) -> dict[str, float]:
    """Seconds of an ingestion of 2,000 images, on both ledgers, turn and turn about.

    Returns:
        medians of a micro-batch of the ledger and of the whole `hub ingest --once` with samples, labels and
        dead letters; what making the local indexes anew took; their ratios.
    """
    lakes = {rows: _grown(settings, spark, rows) for rows in (SMALL, LARGE)}
    ledger: dict[int, list[float]] = {SMALL: [], LARGE: []}
    whole: dict[int, list[float]] = {SMALL: [], LARGE: []}
    for turn in range(_ROUNDS):
        for rows, own in lakes.items():
            filled(own, bootstrap, folder, _IMAGES, f"growth-{turn}")
            report = IngestReport()
            begun = time.monotonic()
            Ingestion(spark, own, bootstrap).once(report)
            assert report.accepted == _IMAGES, report
            ledger[rows].append(report.ledger_seconds)
            whole[rows].append(time.monotonic() - begun)
    return {
        "batch_seconds_at_20_000_rows": _median(ledger[SMALL]),
        "batch_seconds_at_2_000_000_rows": _median(ledger[LARGE]),
        "batch_ratio": _median(ledger[LARGE]) / _median(ledger[SMALL]),
        "all_tables_seconds_at_20_000_rows": _median(whole[SMALL]),
        "all_tables_seconds_at_2_000_000_rows": _median(whole[LARGE]),
        "all_tables_ratio": _median(whole[LARGE]) / _median(whole[SMALL]),
        "making_the_indexes_anew_seconds": whole[LARGE][0] - _median(whole[LARGE]),
    }


def _median(seconds: list[float]) -> float:
    counted = sorted(seconds[1:])
    return counted[len(counted) // 2]


def _grown(settings: Settings, spark: "SparkSession", rows: int) -> Settings:
    """Settings of a lake of so many rows that nobody has uploaded, without pixels."""
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
    kafka = settings.kafka.model_copy(update={"topic": topic, "rejected_topic": f"{topic}.rejected"})
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
