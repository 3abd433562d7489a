"""How far ResNet-20 on two workers gets in a given time, by recipe, and the best one beside a plain script.

    make bench-accuracy ARCHIVE=pictures.zip            20 minutes a run, 3 seeds
    make bench-accuracy ARCHIVE=pictures.zip MINUTES=5

Each recipe is trained once, for as many epochs as fit into the time. The one with the best validation
accuracy at its end is trained with further seeds, by the hub and by the script; only then is the test split
looked at.
"""

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from benchmarks.ground import fresh, settings_in
from benchmarks.training import datasets
from conf.settings import Settings
from jobs.terminal import table
from models.run import TrainedModel, planned, train

WORKERS = 2
PROBED = 3  # epochs from which the time of one is taken
RECIPES: dict[str, dict[str, Any]] = {
    "settings as they come": {},
    "weight decay 0.0005": {"weight_decay": 5e-4},
    "weight decay 0.0005, twice the rate": {"weight_decay": 5e-4, "learning_rate": 0.2},
    "weight decay 0.0005, smoothing 0.1": {"weight_decay": 5e-4, "label_smoothing": 0.1},
}


@dataclass(frozen=True)
class Pace:
    """Seconds of a run: before the first step, of an epoch with its validation, after the last step."""

    start: float
    epoch: float
    end: float

    @classmethod
    def of(cls, trained: TrainedModel) -> "Pace":
        """As a run had it."""
        start, end = trained.seconds_to_first_step or 0.0, trained.seconds_after_last_step or 0.0
        return cls(start, (trained.seconds - start - end) / len(trained.history), end)

    def epochs(self, seconds: float) -> int:
        """That fit into so many seconds."""
        return max(PROBED, int((seconds - self.start - self.end) / self.epoch))


@click.command()
@click.option("--archive", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--minutes", default=20.0, show_default=True, help="Of a run, from start to model.")
@click.option("--seeds", default=3, show_default=True, help="Runs of the best recipe.")
@click.option("--recipe", "names", multiple=True, type=click.Choice(list(RECIPES)), help="Only these.")
def main(archive: Path, minutes: float, seeds: int, names: tuple[str, ...]) -> None:
    """Measure, print tables, write build/bench/accuracy.json and accuracy.png."""
    work = fresh("accuracy")
    folder = work.parent
    settings, dataset = datasets(settings_in(work), {archive})[archive]
    pace = Pace.of(_trained(settings, dataset, epochs=PROBED))
    epochs = pace.epochs(60 * minutes)
    click.echo(f"{epochs} epochs of {pace.epoch:.1f} s fit into {minutes:g} minutes")
    tried = {name: _trained(settings, dataset, epochs=epochs, **RECIPES[name]) for name in names or RECIPES}
    best = max(tried, key=lambda name: tried[name].history[-1].validation_accuracy or 0.0)
    ours = [tried[best]]
    for _ in range(1, seeds):
        ours.append(_trained(settings, dataset, epochs=epochs, seed=ours[-1].plan.seed + 1, **RECIPES[best]))
    theirs = _scripts(settings, dataset, ours)
    results = {
        "minutes": minutes,
        "epochs": epochs,
        "recipe": best,
        "given": RECIPES[best],
        "hub": _accuracies([trained.evaluation.accuracy or 0.0 for trained in ours]),
        "script": _accuracies([found["test_accuracy"] for found in theirs]),
        "minutes_of_the_hub": [round(trained.seconds / 60, 2) for trained in ours],
        "minutes_of_the_script_on_one_core": [round(found["seconds"] / 60, 2) for found in theirs],
        "curves": {name: _curve(trained) for name, trained in tried.items()},
    }
    (folder / "accuracy.json").write_text(json.dumps(results, indent=1) + "\n")
    _draw(results, folder / "accuracy.png")
    _print(results, folder)


def _trained(settings: Settings, dataset: str, **given: Any) -> TrainedModel:
    trained = train(settings, planned(settings, dataset, WORKERS, **given), bar=sys.stderr.isatty())
    last = trained.history[-1]
    click.echo(
        f"seed {trained.plan.seed}, {given}: validation {last.validation_accuracy:.4f}, "
        f"{trained.seconds / 60:.1f} minutes"
    )
    return trained


def _scripts(settings: Settings, dataset: str, ours: list[TrainedModel]) -> list[dict[str, Any]]:
    """The plain script with plan and seed of each of our runs, a core each."""
    cores = sorted(os.sched_getaffinity(0))
    found: list[dict[str, Any]] = []
    for start in range(0, len(ours), len(cores)):
        running = [
            subprocess.Popen(
                ["taskset", "-c", str(core), *_command(settings, dataset, trained)],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            for core, trained in zip(cores, ours[start : start + len(cores)], strict=False)
        ]
        for process in running:
            output, _ = process.communicate()
            assert process.returncode == 0, process.args
            found.append(json.loads(output))
    return found


def _command(settings: Settings, dataset: str, trained: TrainedModel) -> list[str]:
    plan = trained.plan
    snapshot = settings.lake.at("snapshots", dataset)
    place = [snapshot, plan.architecture, trained.batch * plan.workers, plan.epochs]
    return [
        sys.executable, "-m", "benchmarks.script", *map(str, place), "--measured",
        "--seed", str(plan.seed), "--learning-rate", str(plan.learning_rate),
        "--weight-decay", str(plan.weight_decay), "--warmup-epochs", str(plan.warmup_epochs),
        "--label-smoothing", str(plan.label_smoothing),
    ]  # fmt: skip


def _accuracies(found: list[float]) -> dict[str, Any]:
    spread = statistics.stdev(found) if len(found) > 1 else None
    return {"test_accuracies": found, "mean": statistics.fmean(found), "standard_deviation": spread}


def _curve(trained: TrainedModel) -> list[tuple[float, float | None]]:
    """Minutes since the start and validation accuracy at the end of each epoch."""
    pace = Pace.of(trained)
    return [
        (round((pace.start + row.epoch * pace.epoch) / 60, 3), row.validation_accuracy)
        for row in trained.history
    ]


def _draw(results: dict[str, Any], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for name, curve in results["curves"].items():
        axes.plot(*zip(*curve, strict=True), label=name)
    axes.set(xlabel="minutes since the command", ylabel="validation accuracy", title="ResNet-20, two workers")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)


def _print(results: dict[str, Any], folder: Path) -> None:
    lines = [[name, len(curve), curve[-1][0], curve[-1][1]] for name, curve in results["curves"].items()]
    click.echo(table(["recipe", "epochs", "minutes", "validation accuracy"], lines, title="One seed each"))
    lines = [
        [
            who,
            *(results[who][name] for name in ("mean", "standard_deviation")),
            *results[who]["test_accuracies"],
        ]
        for who in ("hub", "script")
    ]
    seeds = [f"run {number + 1}" for number in range(len(lines[0]) - 3)]
    title = f"Test accuracy: {results['recipe']}"
    click.echo(table(["", "mean", "standard deviation", *seeds], lines, title=title))
    click.echo(f"Written to {folder / 'accuracy.json'} and accuracy.png.")


if __name__ == "__main__":
    main()
