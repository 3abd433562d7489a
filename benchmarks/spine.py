"""Benchmark of push and ingest, from files to committed tables, against a plain loop with the same work.

    make bench                                    generated pictures
    make bench SMALL=small.zip PHOTOS=photos.zip  your own

All runs are in the same process and within minutes, so the ratios are comparable between machines; the rates
are not.
"""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmarks import plain
from benchmarks.ground import empty_folder, settings_in
from benchmarks.pictures import Kind, folder_of
from conf.sections import Lake
from conf.settings import Settings
from jobs.cli.text_table import format_table
from lake.spark import session
from local import broker
from streaming import topics
from streaming.ingestion import Ingestion, IngestReport
from streaming.isolate.arrow_batches import ledger_rows
from streaming.upload import producer, push_request
from streaming.upload.push_report import PushReport
from streaming.upload.push_request import PushRequest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_SMALL = Kind("32 px", 32, 32, "jpg", 2_000)
_PHOTO = Kind("500 px", 500, 375, "jpg", 200)
_SMALL_IMAGES = 12_000
_PHOTOS = 1_000
_WARM_UP, _WARM_UPS = 4_000, 5


@dataclass(frozen=True)
class Load:
    """A source of pictures, and the number of images to send."""

    name: str
    source: Path
    label_pattern: str | None
    images: int


@click.command()
@click.option("--small", type=click.Path(exists=True, path_type=Path), help="Zip of small pictures.")
@click.option("--photos", type=click.Path(exists=True, path_type=Path), help="Zip of photographs.")
@click.option(
    "--photos-label",
    default=r"(?P<label>[A-Za-z][A-Za-z_]*)\.\w+$",
    help="Label in the photographs' file names.",
)
def main(small: Path | None, photos: Path | None, photos_label: str) -> None:
    """Measure, print a table, write build/bench/spine.json."""
    work = empty_folder("spine")
    folder = work.parent
    loads = [
        Load("small", small or folder_of(_SMALL, folder / "pictures", None), None, _SMALL_IMAGES),
        Load("photographs", photos, photos_label, _PHOTOS)
        if photos
        else Load("photographs", folder_of(_PHOTO, folder / "pictures", None), None, _PHOTOS),
    ]
    settings = settings_in(work)
    with broker.running(settings) as bootstrap:
        spark = session.start(settings, "bench")
        try:
            rows = [_measure(settings, bootstrap, load, spark) for load in loads]
        finally:
            spark.stop()
    (folder / "spine.json").write_text(json.dumps(rows, indent=1) + "\n")
    click.echo(
        format_table([name.replace("_", " ") for name in rows[0]], [list(row.values()) for row in rows])
    )
    click.echo("loop: one process that does the same work on each image, without Kafka, Spark, Delta.")
    click.echo(f"Written to {folder / 'spine.json'}.")


def _measure(settings: Settings, bootstrap: str, load: Load, spark: "SparkSession") -> dict[str, object]:
    kafka = settings.kafka.model_copy(
        update={
            "topic": f"bench-{load.name}",
            "rejected_topic": f"bench-{load.name}.rejected",
            "verdicts_topic": f"bench-{load.name}.verdicts",
        }
    )
    own = settings.model_copy(update={"kafka": kafka, "lake": Lake(root=f"{settings.lake.root}/{load.name}")})
    topics.create(kafka, bootstrap)
    for turn in range(_WARM_UPS):  # the JVM compiles, the tables are created
        _push_and_ingest(
            own, bootstrap, replace(load, images=min(_WARM_UP, load.images)), spark, f"warm-up {turn}"
        )
    pushed, report = _push_and_ingest(own, bootstrap, load, spark, load.name)
    loop = _loop_rate(settings, load)
    return {
        "load": load.name,
        "images": load.images,
        "kilobytes": round(pushed.bytes / load.images / 1000, 1),
        "pushed_per_second": round(pushed.images_per_second),
        "pushed_megabytes_per_second": round(pushed.bytes / pushed.seconds / 1e6, 1),
        "ledger_per_second": round(report.images_per_second),
        "all_tables_per_second": round(report.records / report.seconds),
        "loop_per_second": round(loop),
        "ledger_to_loop": round(report.images_per_second / loop, 2),
        "all_tables_to_loop": round(report.records / report.seconds / loop, 2),
    }


def _push_and_ingest(
    own: Settings, bootstrap: str, load: Load, spark: "SparkSession", batch: str
) -> tuple[PushReport, IngestReport]:
    request = PushRequest(str(load.source), batch, load.label_pattern, repeat=load.images, limit=load.images)
    pushed = producer.push(own.kafka, own.push, bootstrap, push_request.records(request, own))
    report = IngestReport()
    Ingestion(spark, own, bootstrap).once(report)
    # An ingestion that rejects everything would be the fastest.
    assert report.accepted == report.records == pushed.acknowledged == load.images, report
    return pushed, report


def _loop_rate(settings: Settings, load: Load) -> float:
    """Images per second of the same verification and preparation, in this process alone."""
    images = min(load.images, 2_000)
    work, rules = (
        plain.kafka_records(load.source, settings, images, load.label_pattern),
        plain.in_process_rules(settings),
    )
    begun = time.perf_counter()
    accepted = sum(row["verdict"] == "accepted" for row in ledger_rows(work, rules))
    assert accepted == images
    return images / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
