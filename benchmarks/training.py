"""Benchmark of training, images per second: a Keras script on one core, `hub train` with one and two workers.

    make bench-train                           generated pictures
    make bench-train ARCHIVE=pictures.zip      your own, labelled by their folders

Each run has one core per worker, shared with the driver and Spark, and the same batch per worker. Runs
alternate, so the ratios are comparable between machines; the rates are not. Concurrent scripts, one per core,
show what the machine itself loses when all its cores work.
"""

import json
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.ground import empty_folder, quiet_libraries, settings_in
from benchmarks.pictures import Kind, folder_of
from conf.sections import Lake
from conf.settings import Settings
from jobs.cli.text_table import format_table
from lake.spark import session
from local import broker
from models.runs.train import make_plan, train
from organize.datasets.dataset import organize
from streaming import topics
from streaming.ingestion import Ingestion, IngestReport
from streaming.upload import producer, push_request
from streaming.upload.push_request import PushRequest


@dataclass(frozen=True)
class Load:
    """An architecture, its pictures, and the training settings.

    Args:
        batch: pictures per worker and step.
        epochs: the first is not counted.
    """

    architecture: str
    kind: Kind
    batch: int
    epochs: int


RUNS = (1, "synchronized"), (2, "synchronized"), (2, "local")  # workers and train.normalization
LOADS = (
    Load("resnet20", Kind("48 px", 48, 48, "jpg", 6_400), 256, 4),
    Load("resnet50", Kind("288 px", 288, 288, "jpg", 160), 32, 3),
)


@click.command()
@click.option("--archive", type=click.Path(exists=True, path_type=Path), help="Zip of labelled pictures.")
@click.option("--only", multiple=True, help="Architecture; may be repeated.")
@click.option("--rounds", default=2, show_default=True, help="Runs of each; the fastest is reported.")
def main(archive: Path | None, only: tuple[str, ...], rounds: int) -> None:
    """Measure, print a table, write build/bench/training.json."""
    work = empty_folder("training")
    folder = work.parent
    settings = settings_in(work)
    loads = [load for load in LOADS if not only or load.architecture in only]
    sources = {load: archive or folder_of(load.kind, folder / "pictures", None) for load in loads}
    made = make_datasets(settings, set(sources.values()))
    rows = [_measure(*made[sources[load]], load, rounds) for load in loads]
    (folder / "training.json").write_text(json.dumps(rows, indent=1) + "\n")
    names = [name for name in rows[0] if name != "load"]
    lines = [[name.replace("_", " "), *(row[name] for row in rows)] for name in names]
    click.echo(format_table(["", *(str(row["load"]) for row in rows)], lines, title="Images a second"))
    click.echo(f"Written to {folder / 'training.json'}.")


def make_datasets(settings: Settings, sources: set[Path]) -> dict[Path, tuple[Settings, str]]:
    """Push, ingest and organize each source; returns the settings and the dataset id of each."""
    made: dict[Path, tuple[Settings, str]] = {}
    for number, source in enumerate(sorted(sources)):
        own = _own_settings(settings, number)
        with broker.running(own) as bootstrap:
            topics.create(own.kafka, bootstrap)
            producer.push(
                own.kafka, own.push, bootstrap, push_request.records(PushRequest(str(source), "bench"), own)
            )
            spark = session.start(own, "bench train")
            try:
                Ingestion(spark, own, bootstrap).once(IngestReport())
                made[source] = own, organize(spark, own).dataset_id
            finally:
                spark.stop()
    return made


def _own_settings(settings: Settings, number: int) -> Settings:
    update = {"topic": f"bench-{number}", "rejected_topic": f"bench-{number}.rejected"}
    update["verdicts_topic"] = f"bench-{number}.verdicts"
    labels = settings.labels.model_copy(update={"ready_images": 1})
    kafka = settings.kafka.model_copy(update=update)
    lake = Lake(root=f"{settings.lake.root}-{number}")
    return settings.model_copy(update={"kafka": kafka, "labels": labels, "lake": lake})


def _measure(settings: Settings, dataset: str, load: Load, rounds: int) -> dict[str, object]:
    script, beside = 0.0, 0.0
    rates, waits = dict.fromkeys(RUNS, 0.0), dict.fromkeys(RUNS, 1.0)
    for _ in range(rounds):
        script = max(script, sum(_script_rates(settings, load, dataset, 1)))
        beside = max(beside, sum(_script_rates(settings, load, dataset, 2)))
        for run in RUNS:
            rate, wait = _hub_rate(settings, load, dataset, *run)
            rates[run], waits[run] = max(rates[run], rate), min(waits[run], wait)
    alone, together, apart = (rates[run] for run in RUNS)
    return {
        "load": f"{load.architecture}, batch {load.batch}",
        "plain_script": round(script, 1),
        "two_plain_scripts": round(beside, 1),
        "one_worker": round(alone, 1),
        "two_workers_synchronized": round(together, 1),
        "two_workers_local": round(apart, 1),
        "one_worker_to_script": round(alone / script, 3),
        "two_workers_synchronized_to_one": round(together / alone, 3),
        "two_workers_local_to_one": round(apart / alone, 3),
        "two_scripts_to_one": round(beside / script, 3),
        "waiting_for_input_one_worker": round(waits[RUNS[0]], 4),
        "waiting_for_input_two_workers": round(max(waits[RUNS[1]], waits[RUNS[2]]), 4),
    }


def _hub_rate(
    settings: Settings, load: Load, dataset: str, workers: int, normalization: str
) -> tuple[float, float]:
    """Images per second, and the share of step time spent waiting for input; in a new process."""
    cores = sorted(os.sched_getaffinity(0))[:workers]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, os.sched_setaffinity, (0, cores)) as process:
        return process.submit(_train, settings, load, dataset, workers, normalization).result()


def _train(
    settings: Settings, load: Load, dataset: str, workers: int, normalization: str
) -> tuple[float, float]:
    quiet_libraries()
    plan = make_plan(
        settings, dataset, workers, architecture=load.architecture, batch_size=load.batch,
        epochs=load.epochs, precision="float32", normalization=normalization,
    )  # fmt: skip
    trained = train(settings, plan, bar=False)
    return trained.images_per_second, trained.input_wait_share


def _script_rates(settings: Settings, load: Load, dataset: str, count: int) -> list[float]:
    """Images per second of concurrent scripts, each on its own core."""
    snapshot = settings.lake.at("snapshots", dataset)
    command = [sys.executable, "-m", "benchmarks.script", snapshot, load.architecture]

    def rate(core: int) -> float:
        done = subprocess.run(
            ["taskset", "-c", str(core), *command, str(load.batch), str(load.epochs)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return float(json.loads(done.stdout)["images_per_second"])

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(rate, sorted(os.sched_getaffinity(0))[:count]))


if __name__ == "__main__":
    main()
