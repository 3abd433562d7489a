"""Benchmark of writing the shards of a dataset snapshot, against pandas and pyarrow with the same rows.

    python -m benchmarks.organize.snapshots

The ledger has pictures of random bytes, because JPEG does not compress further; their sizes are skewed. The
hub joins the chosen samples with the ledger, shuffles the rows to their shards and writes them with hashes.
The plain script does the same with pandas and pyarrow in one process, which holds all pictures in memory.
Both read the same Delta files and must write the same bytes.
"""

import hashlib
import io
import json
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from benchmarks.ground import empty_folder, settings_in
from conf.settings import Settings
from jobs.cli.text_table import format_table
from lake import tables
from lake.snapshot import SHARD_SCHEMA, DatasetSnapshot, Split
from lake.spark import session
from lake.table import Table
from organize.datasets import snapshot_writer
from organize.datasets.selection import Selection

_LABELS = ("cat", "dog")
_FILE_ROWS = 2000  # rows per file of the ledger, as a large micro-batch writes them
_RUNS = 3


@click.command()
@click.option("--images", type=int, default=20_000, show_default=True)
@click.option("--kilobytes", type=int, default=14, show_default=True, help="Median size of a picture.")
def main(images: int, kilobytes: int) -> None:
    """Measure, print a table, write build/bench/snapshots.json."""
    folder = empty_folder("snapshots")
    settings = settings_in(folder)
    spark = session.start(settings, "bench", master="local[2,4]")
    try:
        size = _fill(spark, settings, images, kilobytes)
        assignment = _assignment(spark, settings).persist()
        assignment.count()
        seconds: dict[str, list[float]] = {"hub": [], "pandas + pyarrow": []}
        hashes: dict[str, dict[str, str]] = {}
        for _ in range(_RUNS):  # in turns, so that both meet the same load of the machine
            for name, write in (("hub", _hub), ("pandas + pyarrow", _plain)):
                began = time.monotonic()
                hashes[name] = write(spark, settings, assignment, empty_folder(f"snapshots/{name}"))
                seconds[name].append(time.monotonic() - began)
    finally:
        spark.stop()
    assert hashes["hub"] == hashes["pandas + pyarrow"], "the same bytes"
    rates = {name: size / min(times) / 1e6 for name, times in seconds.items()}
    found = {
        "images": images,
        "bytes": size,
        "shards": len(hashes["hub"]),
        "megabytes_per_second": {name: round(rate, 1) for name, rate in rates.items()},
        "ratio": round(rates["hub"] / rates["pandas + pyarrow"], 2),
        "seconds": {name: [round(each, 2) for each in times] for name, times in seconds.items()},
    }
    (folder.parent / "snapshots.json").write_text(json.dumps(found, indent=1) + "\n")
    rows = [[name, f"{rates[name]:,.0f}", f"{min(times):.1f}"] for name, times in seconds.items()]
    click.echo(format_table(["writer", "MB/s", "best of 3 (s)"], rows))
    click.echo(f"{images:,} images, {size / 1e6:,.0f} MB, ratio {found['ratio']}")


def _fill(spark: SparkSession, settings: Settings, images: int, kilobytes: int) -> int:
    """Write a ledger and samples; returns the bytes of all pictures."""
    tables.create(spark, settings.lake)
    random = np.random.default_rng(3)
    sizes = (random.lognormal(0, 0.4, images) * kilobytes * 1024).astype(int)
    for first in range(0, images, _FILE_ROWS):
        numbers = range(first, min(first + _FILE_ROWS, images))
        rows = pa.table(
            {
                "image_id": [hashlib.sha256(str(number).encode()).hexdigest() for number in numbers],
                "upload_id": [f"u{number}" for number in numbers],
                "label": [_LABELS[number % 2] for number in numbers],
                "verdict": ["accepted"] * len(numbers),
                "jpeg": [random.bytes(sizes[number]) for number in numbers],
            }
        )
        frame = spark.createDataFrame(rows).coalesce(1)
        frame.write.format("delta").mode("append").save(settings.lake.at(Table.UPLOADS))
    known = tables.read(spark, settings.lake, Table.UPLOADS).select("image_id", "upload_id", "label")
    known.write.format("delta").mode("append").save(settings.lake.at(Table.SAMPLES))
    return int(sizes.sum())


def _assignment(spark: SparkSession, settings: Settings) -> DataFrame:
    samples = tables.read(spark, settings.lake, Table.SAMPLES)
    split = "CASE WHEN conv(left(image_id, 2), 16, 10) < 205 THEN 'train' ELSE 'test' END"
    chosen = samples.selectExpr("image_id", "upload_id", "label", f"{split} AS split")
    return snapshot_writer.assign_shards(chosen, list(_LABELS), settings.organize)


def _hub(spark: SparkSession, settings: Settings, assignment: DataFrame, folder: Path) -> dict[str, str]:
    planned = snapshot_writer.plan_snapshot(settings, list(_LABELS), Selection(), {})
    storage = type(planned.storage)(str(folder), settings.s3)
    expected = dict.fromkeys(Split, 0) | {
        Split(row.split): row["count"] for row in assignment.groupBy("split").count().collect()
    }
    snapshot = snapshot_writer.write_snapshot(
        DatasetSnapshot(storage, planned.labels, {}, planned.flip, planned.seed, planned.filter),
        assignment,
        tables.read(spark, settings.lake, Table.UPLOADS),
        expected,
        settings.organize.row_group_rows,
        _nothing,
    )
    return {shard.path: shard.sha256 for shards in snapshot.shards.values() for shard in shards}


def _nothing() -> None:
    """No lock to lose."""


def _plain(spark: SparkSession, settings: Settings, assignment: DataFrame, folder: Path) -> dict[str, str]:
    places = assignment.toPandas()
    files = [
        name.removeprefix("file:") for name in tables.read(spark, settings.lake, Table.UPLOADS).inputFiles()
    ]
    columns = ["image_id", "upload_id", "jpeg"]
    pictures = pd.concat([pq.read_table(name, columns=columns).to_pandas() for name in files])
    joined = places.merge(pictures, on=["image_id", "upload_id"]).sort_values(["split", "shard", "position"])
    hashes = {}
    for (split, shard), rows in joined.groupby(["split", "shard"]):
        content = _parquet(rows, settings.organize.row_group_rows)
        path = folder / str(split) / f"{shard:05d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        hashes[f"{split}/{shard:05d}.parquet"] = hashlib.sha256(content).hexdigest()
    return hashes


def _parquet(rows: Any, row_group_rows: int) -> bytes:
    table = pa.Table.from_pandas(rows[SHARD_SCHEMA.names], schema=SHARD_SCHEMA, preserve_index=False)
    buffer = io.BytesIO()
    pq.write_table(
        table.replace_schema_metadata(None),
        buffer,
        row_group_size=row_group_rows,
        compression="none",
        use_dictionary=["label"],
        write_statistics=False,
    )
    return buffer.getvalue()


if __name__ == "__main__":
    main()
