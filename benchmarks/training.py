"""Training images a second: a plain Keras script on one core, `hub train` with one worker, with two.

    make bench-train                           pictures built in code
    make bench-train ARCHIVE=pictures.zip      your own, labelled by their folders

Every run has a core for each worker and the same batch for each worker. They take turns, so the ratios hold
on any machine; the rates do not.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.ground import fresh, settings_in
from benchmarks.pictures import Kind, folder_of
from conf.sections import Lake
from conf.settings import Settings
from jobs.terminal import table
from lake import session
from lake.organize import organize
from local import broker
from models.run import planned, train
from streaming import orders, producer, topics
from streaming.orders import Order
from streaming.query import Ingestion, IngestReport


@dataclass(frozen=True)
class Load:
    """What is trained: an architecture on so many of a kind of pictures, and how.

    Args:
        batch: pictures per worker and step.
        epochs: the first is not counted.
    """

    architecture: str
    kind: Kind
    batch: int
    epochs: int


LOADS = (
    Load("resnet20", Kind("48 px", 48, 48, "jpg", 6_400), 256, 4),
    Load("resnet50", Kind("288 px", 288, 288, "jpg", 160), 16, 3),
)


@click.command()
@click.option("--archive", type=click.Path(exists=True, path_type=Path), help="Zip of labelled pictures.")
@click.option("--only", multiple=True, help="Architecture; may be given again.")
@click.option("--rounds", default=2, show_default=True, help="Runs of each; the fastest counts.")
def main(archive: Path | None, only: tuple[str, ...], rounds: int) -> None:
    """Measure, print a table, write build/bench/training.json."""
    work = fresh("training")
    folder = work.parent
    settings = settings_in(work)
    loads = [load for load in LOADS if not only or load.architecture in only]
    sources = {load: archive or folder_of(load.kind, folder / "pictures", None) for load in loads}
    made = datasets(settings, set(sources.values()))
    rows = [_measured(*made[sources[load]], load, rounds) for load in loads]
    (folder / "training.json").write_text(json.dumps(rows, indent=1) + "\n")
    names = [name for name in rows[0] if name != "load"]
    lines = [[name.replace("_", " "), *(row[name] for row in rows)] for name in names]
    click.echo(table(["", *(str(row["load"]) for row in rows)], lines, title="Images a second"))
    click.echo(f"Written to {folder / 'training.json'}.")


def datasets(settings: Settings, sources: set[Path]) -> dict[Path, tuple[Settings, str]]:
    """A dataset of each source, made the way users make theirs: where it lies, and its id."""
    made: dict[Path, tuple[Settings, str]] = {}
    for number, source in enumerate(sorted(sources)):
        own = _own(settings, number)
        with broker.running(own) as bootstrap:
            topics.create(own.kafka, bootstrap)
            producer.push(own.kafka, own.push, bootstrap, orders.records(Order(str(source), "bench"), own))
            spark = session.start(own, "bench train")
            try:
                Ingestion(spark, own, bootstrap).once(IngestReport())
                made[source] = own, organize(spark, own).dataset_id
            finally:
                spark.stop()
    return made


def _own(settings: Settings, number: int) -> Settings:
    update = {"topic": f"bench-{number}", "rejected_topic": f"bench-{number}.rejected"}
    labels = settings.labels.model_copy(update={"ready_images": 1})
    kafka = settings.kafka.model_copy(update=update)
    lake = Lake(root=f"{settings.lake.root}-{number}")
    return settings.model_copy(update={"kafka": kafka, "labels": labels, "lake": lake})


def _measured(settings: Settings, dataset: str, load: Load, rounds: int) -> dict[str, object]:
    script, one, two = 0.0, 0.0, 0.0
    waits = {1: 1.0, 2: 1.0}
    for _ in range(rounds):
        script = max(script, _script(settings, load, dataset))
        for workers in (1, 2):
            plan = planned(
                settings, dataset, workers, architecture=load.architecture, batch_size=load.batch,
                epochs=load.epochs, precision="float32",
            )  # fmt: skip
            trained = train(settings, plan, bar=False)
            waits[workers] = min(waits[workers], trained.input_wait_share)
            if workers == 1:
                one = max(one, trained.images_per_second)
            else:
                two = max(two, trained.images_per_second)
    return {
        "load": f"{load.architecture}, batch {load.batch}",
        "plain_script": round(script, 1),
        "one_worker": round(one, 1),
        "two_workers": round(two, 1),
        "one_worker_to_script": round(one / script, 3),
        "two_workers_to_one": round(two / one, 3),
        "share_of_step_time_waiting_for_input_one_worker": round(waits[1], 4),
        "share_of_step_time_waiting_for_input_two_workers": round(waits[2], 4),
    }


def _script(settings: Settings, load: Load, dataset: str) -> float:
    snapshot = settings.lake.at("snapshots", dataset)
    command = [sys.executable, "-m", "benchmarks.script", snapshot, load.architecture]
    done = subprocess.run(
        [*command, str(load.batch), str(load.epochs)], capture_output=True, text=True, check=True
    )
    return float(json.loads(done.stdout)["images_per_second"])


if __name__ == "__main__":
    main()
