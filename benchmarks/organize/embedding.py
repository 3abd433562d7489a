"""Embeddings per second of `hub organize --once` beside a plain loop with the same pictures and network.

    python -m benchmarks.organize.embedding [--images 2000]

Pictures have 256 × 192 pixels, as most photographs have in the ledger. The hub is timed from the samples to
their committed rows in `embeddings`, without stages: once cold, with the start of Python workers, and once
warm. The plain loop is one process on one core that decodes, resizes and embeds; times the number of cores it
is the machine's limit. One line of JSON.
"""

import hashlib
import json
import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from benchmarks.ground import empty_folder, settings_in
from benchmarks.pictures import Kind, folder_of
from conf.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_CORES = os.cpu_count() or 1
_KIND = Kind("predict 256 px", 256, 192, "jpg", 200)
_LOOP = 300  # pictures of the plain loop


@click.command()
@click.option("--images", type=int, default=2000, show_default=True, help="Of each of the two runs.")
def main(images: int) -> None:
    """Measure, and print the rates."""
    work = empty_folder("embedding")
    settings = settings_in(work)
    contents = [
        file.read_bytes() for file in sorted(folder_of(_KIND, work.parent / "pictures", None).rglob("*.jpg"))
    ]
    cold, warm = _hub(settings, contents, images)
    loop = [_plain(settings, contents) for _ in range(2)]
    rates = {"cold": round(images / cold, 1), "warm": round(images / warm, 1), "loop": round(min(loop), 1)}
    print(
        json.dumps(
            {
                "images": images,
                "cores": _CORES,
                **rates,
                "warm_to_limit": round(images / warm / min(loop) / _CORES, 2),
            }
        )
    )


def _hub(settings: Settings, contents: list[bytes], images: int) -> list[float]:
    from lake import tables
    from lake.spark import session
    from organize.features import network_file
    from organize.features.embedder import embedder_of
    from organize.follow import pictures
    from organize.follow.organizer import Organizer

    network_file.get_or_create(settings, embedder_of(settings))
    spark = session.start(settings, "organize")
    try:
        tables.create(spark, settings.lake)
        seconds = []
        for run in range(2):
            _add(spark, settings, contents, range(run * images, (run + 1) * images))
            organizer = replace(Organizer.create(settings, print, "benchmark"), stages=())
            began = time.monotonic()
            missing = pictures.not_embedded(spark, settings, organizer.model_id).toArrow()
            organizer.organize(spark, missing)
            seconds.append(time.monotonic() - began)
            assert organizer.counts.embedded == images, organizer.counts
        return seconds
    finally:
        spark.stop()


def _add(spark: "SparkSession", settings: Settings, contents: list[bytes], numbers: range) -> None:
    """One commit to the ledger, and its samples."""
    from lake.table import Table

    now = datetime.now(UTC)
    rows: list[tuple[object, ...]] = [
        (hashlib.sha256(str(n).encode()).hexdigest(), f"u{n}", f"label{n % 10}", "accepted", n, [], now,
         contents[n % len(contents)])
        for n in numbers
    ]  # fmt: skip
    names = "image_id string, upload_id string, label string, verdict string, phash long, flags array<string>"
    frame = spark.createDataFrame(rows, f"{names}, event_time timestamp, jpeg binary").coalesce(2)
    frame.write.format("delta").mode("append").save(settings.lake.at(Table.UPLOADS))
    samples = frame.drop("verdict", "jpeg")
    samples.write.format("delta").mode("append").save(settings.lake.at(Table.SAMPLES))


def _plain(settings: Settings, contents: list[bytes]) -> float:
    """Pictures per second of a loop on one core."""
    from organize.features import network, network_file
    from organize.features.embedder import embedder_of

    embed = network.load(network_file.get_or_create(settings, embedder_of(settings))).embed_encoded
    embed(contents[:8])
    began = time.monotonic()
    for first in range(0, _LOOP, 20):
        embed([contents[number % len(contents)] for number in range(first, first + 20)])
    return _LOOP / (time.monotonic() - began)


if __name__ == "__main__":
    main()
