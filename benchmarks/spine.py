"""Push and ingest, from files to committed tables, beside a plain loop that does the same per-image work.

    make bench                                    pictures built in code
    make bench SMALL=small.zip PHOTOS=photos.zip  your own

Every run is in the same process and minute, so the ratios hold on any machine; the rates do not.
"""

import json
import shutil
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import cv2
import numpy as np

from conf import settings as configuration
from conf.settings import Lake, Settings, home
from jobs.terminal import table
from lake import session
from local import broker
from streaming import orders, producer, topics
from streaming.orders import Order
from streaming.query import Ingestion, IngestReport
from streaming.rows import KafkaRecord, rows_of
from streaming.rules import Rules
from streaming.wire import Record

_SMALL = 12_000
_PHOTOS = 1_000
_LABELS = 10
_WARM_UP = 600


@dataclass(frozen=True)
class Load:
    """A kind of pictures and how many of them are sent."""

    name: str
    archive: Path
    label_pattern: str | None
    images: int


@click.command()
@click.option("--small", type=click.Path(exists=True, path_type=Path), help="Zip of small pictures.")
@click.option("--photos", type=click.Path(exists=True, path_type=Path), help="Zip of photographs.")
@click.option(
    "--photos-label", default=r"(?P<label>[A-Za-z][A-Za-z_]*)\.\w+$", help="Their label in the file name."
)
def main(small: Path | None, photos: Path | None, photos_label: str) -> None:
    """Measure, print a table, write build/bench/spine.json."""
    folder = home() / "build" / "bench"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    loads = [
        Load("small", small or _built(folder / "small.zip", _SMALL, 32, 32), None, _SMALL),
        Load("photographs", photos, photos_label, _PHOTOS)
        if photos
        else Load("photographs", _built(folder / "photos.zip", 200, 500, 375), None, _PHOTOS),
    ]
    settings = _settings(folder)
    rows = []
    with broker.running(settings) as bootstrap:
        spark = session.start(settings, "bench")
        try:
            warm = Load("warm-up", loads[0].archive, None, _WARM_UP)
            _measured(settings, bootstrap, warm, spark)
            rows = [_measured(settings, bootstrap, load, spark) for load in loads]
        finally:
            spark.stop()
    (folder / "spine.json").write_text(json.dumps(rows, indent=1) + "\n")
    click.echo(table([name.replace("_", " ") for name in rows[0]], [list(row.values()) for row in rows]))
    click.echo("The loop is one process that does the same work on each image, without Kafka, Spark, Delta.")
    click.echo(f"Written to {folder / 'spine.json'}.")


def _measured(settings: Settings, bootstrap: str, load: Load, spark: object) -> dict[str, object]:
    kafka = settings.kafka.model_copy(
        update={"topic": f"bench-{load.name}", "rejected_topic": f"bench-{load.name}.rejected"}
    )
    own = settings.model_copy(update={"kafka": kafka, "lake": Lake(root=f"{settings.lake.root}/{load.name}")})
    topics.create(kafka, bootstrap)
    with zipfile.ZipFile(load.archive) as archive:
        in_archive = sum(not member.is_dir() for member in archive.infolist())
    repeat = -(-load.images // in_archive)
    order = Order(str(load.archive), load.name, load.label_pattern, repeat=repeat, limit=load.images)
    pushed = producer.push(kafka, settings.push, bootstrap, orders.records(order, settings))
    report = IngestReport()
    Ingestion(spark, own, bootstrap).once(report)  # type: ignore[arg-type]
    # Rejecting everything would be the fastest ingestion of all.
    assert report.accepted == report.records == pushed.acknowledged == load.images, report
    loop = _loop(settings, load)
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
    }


def _loop(settings: Settings, load: Load) -> float:
    """Images a second of the same verification and preparation in this process alone."""
    bare = settings.decoding.model_copy(update={"isolated": False})
    rules = Rules.of(settings.model_copy(update={"decoding": bare}))
    order = Order(str(load.archive), load.name, load.label_pattern, limit=min(load.images, 2_000))
    records = [
        KafkaRecord("loop", 0, number, None, record.key, record.value, record.headers)
        for number, record in enumerate(orders.records(order, settings))
        if isinstance(record, Record)
    ]
    begun = time.perf_counter()
    accepted = sum(row["verdict"] == "accepted" for row in rows_of(records, rules))
    assert accepted == len(records)
    return len(records) / (time.perf_counter() - begun)


def _settings(folder: Path) -> Settings:
    settings = configuration.load()
    return settings.model_copy(
        update={
            "lake": Lake(root=str(folder / "lake")),
            "broker": settings.broker.model_copy(update={"dir": folder / "broker"}),
            "ingest": settings.ingest.model_copy(update={"index_dir": folder / "index"}),
            "kafka": settings.kafka.model_copy(update={"bootstrap": ""}),
        }
    )


def _built(path: Path, images: int, width: int, height: int) -> Path:
    """A zip of pictures with structure at every scale, as photographs have, each unlike the others."""
    with zipfile.ZipFile(path, "w") as archive:
        for number, content in enumerate(_pictures(images, width, height)):
            archive.writestr(f"label{number % _LABELS}/{number:05d}.jpg", content)
    return path


def _pictures(images: int, width: int, height: int) -> Iterator[bytes]:
    rng = np.random.default_rng(11)
    for _ in range(images):
        picture = np.zeros((height, width, 3), np.float32)
        cells = 2
        while cells <= max(width, height):
            noise = rng.standard_normal((cells, cells, 3), np.float32)
            picture += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC) * 60 / cells**0.5
            cells *= 2
        done, content = cv2.imencode(".jpg", (picture + 128).clip(0, 255).astype(np.uint8))
        assert done
        yield content.tobytes()


if __name__ == "__main__":
    main()
