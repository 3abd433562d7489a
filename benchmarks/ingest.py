"""Benchmark of steady ingestion, from Kafka to committed Delta, against a plain loop, decoding and Daft.

    make bench-ingest                            generated pictures
    make bench-ingest PHOTOS=photos.zip          photographs, scaled to each size

All runs are on the same machine within minutes, so the ratios are comparable between machines; the rates are
not. Each baseline runs for some seconds before and after the ingestion, because a machine's speed changes.
"""

import importlib.util
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import harmonic_mean
from typing import TYPE_CHECKING, NamedTuple

import click

from benchmarks import growth, plain, processes, transport
from benchmarks.ground import delete_topic, empty_folder, fill_topic, settings_in
from benchmarks.pictures import Kind, folder_of
from conf.sections import Lake
from conf.settings import Settings
from jobs.cli.text_table import format_table
from lake.spark import session
from local import broker
from streaming.ingestion import Ingestion, IngestReport
from streaming.ledger.ledger import BatchCounts

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_BATCHES = 3  # micro-batches of each run; the first warms up and is not counted
_WARM_UP_BATCHES = 30
_WARM_UP_ROWS = 100_000
_FIXED_BATCHES = 12
_FIXED_RECORDS = 8
_CORES = os.cpu_count() or 1


@dataclass(frozen=True)
class Load:
    """A kind of pictures, and the number of images in a micro-batch, for Daft (rival) and for the loops."""

    kind: Kind
    batch: int
    rival: int
    plain: int


# With a producer faster than the ingestion, each micro-batch has ingest.batch_records (16,000) records. With
# photographs it takes up to seven minutes; the sizes here take 15 to 25 s per micro-batch, and 6 s per loop.
LOADS = (
    Load(Kind("32 px", 32, 32, "jpg", 2000), 120_000, 80_000, 40_000),
    Load(Kind("500 px", 500, 375, "jpg", 200), 16_000, 1_400, 6_000),
    Load(Kind("1 MP", 1154, 866, "jpg", 40), 8_000, 500, 3_600),
    Load(Kind("12 MP", 4000, 3000, "jpg", 8), 2_000, 30, 800),
    Load(Kind("1 MP PNG", 1154, 866, "png", 20), 800, 240, 360),
)


@click.command()
@click.option("--photos", type=click.Path(exists=True, path_type=Path), help="Zip of photographs to scale.")
@click.option("--only", multiple=True, help="Name of a load; may be repeated.")
@click.option(
    "--growth/--no-growth", "with_growth", default=True, help="Measure on a ledger of 2,000,000 rows."
)
def main(photos: Path | None, only: tuple[str, ...], with_growth: bool) -> None:
    """Measure, print tables, write build/bench/ingest.json."""
    work = empty_folder("ingest")
    folder = work.parent
    settings = settings_in(work)
    loads = [load for load in LOADS if not only or load.kind.name in only]
    small = LOADS[0]
    folders = {load.kind.name: folder_of(load.kind, folder / "pictures", photos) for load in {small, *loads}}
    tiny = folders[small.kind.name]
    with broker.running(settings) as bootstrap:
        spark = session.start(settings, "bench ingest")
        try:
            bench = _Bench(settings, bootstrap, spark, work)
            # Warm up: until the JVM has compiled the code, everything takes several times as long, and code
            # that runs once per row needs some hundred thousand rows.
            bench.steady_state(small, tiny, True, batch=400, batches=_WARM_UP_BATCHES)
            bench.steady_state(small, tiny, True, _WARM_UP_ROWS, batches=2)
            rows = [bench.measure(load, folders[load.kind.name]) for load in loads]
            fixed = bench.fixed_seconds(small, tiny)
            grown = growth.measure(settings, bootstrap, spark, tiny) if with_growth else {}
        finally:
            spark.stop()
    stages = {
        load.kind.name: plain.stage_times(folders[load.kind.name], settings, min(load.plain, 400))
        for load in loads
    }
    results = {"loads": rows, "stages": stages, "fixed_seconds": fixed, "growth": grown, "cores": _CORES}
    (folder / "ingest.json").write_text(json.dumps(results, indent=1) + "\n")
    _print(results, folder / "ingest.json")


class _Commit(NamedTuple):
    """A committed micro-batch: time, images, and CPU seconds so far by kind of process."""

    time: float
    images: int
    used: dict[str, float]


@dataclass(frozen=True)
class _Bench:
    settings: Settings
    bootstrap: str
    spark: "SparkSession"
    work: Path

    def measure(self, load: Load, folder: Path) -> dict[str, object]:
        """Run all measurements of one kind of pictures."""
        # Baselines run before and after each ingestion, so that both see the machine in the same state.
        rivals, loops = [self._daft_rates(load, folder)], [self._loop_rate(load, folder)]
        isolated = self.steady_state(load, folder, True, load.batch)
        loops.append(self._loop_rate(load, folder))
        rivals.append(self._daft_rates(load, folder))
        in_process = self.steady_state(load, folder, False, load.batch)
        loops.append(self._loop_rate(load, folder))
        daft, first = (harmonic_mean(each) if all(each) else None for each in zip(*rivals, strict=True))
        rate, loop = isolated["images_per_second"], harmonic_mean(loops[:2])
        without_isolation = in_process["images_per_second"] / harmonic_mean(loops[1:])
        decoding = plain.decoding_rate(folder, self.settings, min(load.plain, 2_000)) * _CORES
        own = self._own_settings(f"{load.kind.name}-transport", load.batch, isolated=True)
        moved = transport.cpu_microseconds(own, self.bootstrap, self.spark, folder, _BATCHES)
        bound = _CORES * 1e6 / (_CORES * 1e6 / loop + moved)
        click.echo(f"{load.kind.name}: {rate:,.0f} images/s, loop {loop:,.0f}, Daft {daft or 0:,.0f}")
        return {
            "load": load.kind.name,
            **isolated,
            "to_loop": rate / loop,
            "to_daft": rate / daft if daft else None,
            "to_daft_in_a_first_run": rate / first if first else None,
            "loop": loop,
            "transport_cpu_us": moved,
            "loop_and_transport": bound,
            "to_loop_and_transport": rate / bound,
            "bare_decoding": decoding,
            "daft": daft,
            "daft_in_a_first_run": first,
            "isolation_cost_in_spark": without_isolation / (rate / loop) - 1,
            "isolation_cost_in_a_loop": plain.isolation_ratio(folder, self.settings, min(load.plain, 400))
            - 1,
        }

    def steady_state(
        self, load: Load, folder: Path, isolated: bool, batch: int, batches: int = _BATCHES
    ) -> dict[str, float]:
        """Rates and CPU times from Kafka to the committed ledger, without the first micro-batch."""
        images = batch * batches
        settings = self._own_settings(f"{load.kind.name}-{isolated}-{batch}", batch, isolated)
        # Shares are rounded per partition, so a last micro-batch may have a few records more.
        commits = self._ingest(settings, folder, images)[:batches]
        delete_topic(settings, self.bootstrap)
        first, last = commits[0], commits[-1]
        seconds = last.time - first.time
        counted = sum(commit.images for commit in commits[1:])
        used = {kind: last.used[kind] - first.used[kind] for kind in last.used}
        sizes = [path.stat().st_size for path in folder.rglob("*.*") if path.is_file()]
        size = sum(sizes) / len(sizes)
        return {
            "records_in_a_micro_batch": batch,
            "images_per_second": counted / seconds,
            "images_per_second_per_core": counted / seconds / _CORES,
            "megabytes_per_second": counted * size / seconds / 1e6,
            "kilobytes": size / 1000,
            "worker_peak_megabytes": processes.peak_megabytes("python workers"),
            "decoder_peak_megabytes": processes.peak_megabytes("decoders"),
            **{f"cpu_us_{kind.replace(' ', '_')}": value / counted * 1e6 for kind, value in used.items()},
        }

    def fixed_seconds(self, load: Load, folder: Path) -> float:
        """Fixed cost: median seconds of a micro-batch of a few records."""
        settings = self._own_settings("fixed", _FIXED_RECORDS, isolated=True)
        commits = self._ingest(settings, folder, _FIXED_RECORDS * _FIXED_BATCHES)[:_FIXED_BATCHES]
        steps = sorted(after.time - before.time for before, after in pairwise(commits))
        return steps[len(steps) // 2]

    def _ingest(self, settings: Settings, folder: Path, images: int) -> list[_Commit]:
        fill_topic(settings, self.bootstrap, folder, images)
        commits: list[_Commit] = []

        def committed(counts: BatchCounts) -> None:
            # An ingestion that rejects everything would be the fastest.
            assert counts.accepted == counts.records, counts
            commits.append(_Commit(time.monotonic(), counts.accepted, processes.cpu_seconds()))

        report = IngestReport()
        Ingestion(self.spark, settings, self.bootstrap, committed).once(report)
        assert report.accepted == images, report
        return commits

    def _own_settings(self, name: str, batch: int, isolated: bool) -> Settings:
        topic = f"bench-{name.replace(' ', '-')}"
        update = {"topic": topic, "rejected_topic": f"{topic}.rejected", "partitions": 2 * _CORES}
        update["verdicts_topic"] = f"{topic}.verdicts"
        return self.settings.model_copy(
            update={
                "kafka": self.settings.kafka.model_copy(update=update),
                "lake": Lake(root=str(self.work / "lakes" / topic)),
                "ingest": self.settings.ingest.model_copy(update={"batch_records": batch}),
                "decoding": self.settings.decoding.model_copy(update={"isolated": isolated}),
            }
        )

    def _loop_rate(self, load: Load, folder: Path) -> float:
        return plain.loop_rate(folder, self.settings, load.plain, _CORES)

    def _daft_rates(self, load: Load, folder: Path) -> tuple[float, float]:
        """Images per second of Daft, warm and in a process's first run; 0 if it is not installed."""
        if importlib.util.find_spec("daft") is None:
            click.echo("Daft is not installed (pip install -e '.[bench]'): its values are empty.")
            return 0.0, 0.0
        ingest = self.settings.ingest
        sides = [*_fitted(load.kind, ingest.longest_side), *_fitted(load.kind, ingest.thumbnail_side)]
        # In a separate process, because it loads optional libraries that are installed, even TensorFlow.
        command = [sys.executable, "-m", "benchmarks.rival", folder, self.work / "daft", load.rival, *sides]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
        if not done.stdout:  # a crash of Daft must not lose half an hour of other measurements
            last_line = done.stderr.strip().splitlines()[-1:] or ["no output"]
            click.echo(f"Daft exited with {done.returncode}, {last_line[0]}: its values are empty.")
            return 0.0, 0.0
        warm, first = map(float, done.stdout.split())
        return warm, first


def _fitted(kind: Kind, most: int) -> tuple[int, int]:
    scale = min(1.0, most / max(kind.width, kind.height))
    return max(1, round(kind.width * scale)), max(1, round(kind.height * scale))


def _print(results: dict[str, object], path: Path) -> None:
    rows = results["loads"]
    assert isinstance(rows, list)
    names = {name: None for row in rows for name in row if name != "load"}
    lines = [[name.replace("_", " "), *(row.get(name) for row in rows)] for name in names]
    click.echo(format_table(["", *(row["load"] for row in rows)], lines, title="Kafka to committed ledger"))
    stages = results["stages"]
    assert isinstance(stages, dict)
    steps = list(next(iter(stages.values())))
    lines = [[step, *(found[step] for found in stages.values())] for step in steps]
    click.echo(format_table(["µs of CPU a picture", *stages], lines, title="One process, stage by stage"))
    click.echo(f"A micro-batch of {_FIXED_RECORDS} pictures takes {results['fixed_seconds']:.2f} s.")
    grown = results["growth"]
    if isinstance(grown, dict) and grown:
        click.echo(
            format_table(["growth", ""], [[name.replace("_", " "), value] for name, value in grown.items()])
        )
    click.echo(f"loop: {_CORES} processes that do the same work on each image, without Kafka, Spark, Delta.")
    click.echo("transport: from Kafka through Spark to a Python function that only counts, without Delta.")
    click.echo(f"Written to {path}.")


if __name__ == "__main__":
    main()
