"""How far ResNet-20 on two workers gets in a given time, by recipe, and the best one beside a plain script.

    make bench-accuracy ARCHIVE=pictures.zip            20 minutes a run, 3 seeds
    make bench-accuracy ARCHIVE=pictures.zip MINUTES=5

Each recipe is trained once, for as many epochs as fit into the time. The one with the best validation
accuracy at its end is trained with further seeds, by the hub and by the script; only then is the test split
looked at. That takes hours: every run is written down when it ends, and the same command goes on behind the
last one. Without build/bench/accuracy it begins anew.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from benchmarks.ground import fresh, ground, settings_in
from benchmarks.training import datasets
from conf.sections import Lake
from conf.settings import Settings
from jobs.cli.text_table import table
from models.runs.train import planned, train

WORKERS = 2
PROBED = 4  # epochs from which the time of one is taken
RECIPES: dict[str, dict[str, Any]] = {
    "settings as they come": {},
    "weight decay 0.0005": {"weight_decay": 5e-4},
    "weight decay 0.0005, twice the rate": {"weight_decay": 5e-4, "learning_rate": 0.2},
    "weight decay 0.0005, smoothing 0.1": {"weight_decay": 5e-4, "label_smoothing": 0.1},
    "weight decay 0.001, local normalization": {"weight_decay": 1e-3, "normalization": "local"},
}


Run = dict[str, Any]  # what is kept of a training: settings and figures


class Runs:
    """What has been run, in a file, so that nothing of it is lost or run twice.

    Args:
        path: of the file.
        asked: what all of them are for; a file of something else is refused.
    """

    def __init__(self, path: Path, asked: dict[str, Any]) -> None:
        self.path = path
        self._found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"asked": asked}
        if self._found["asked"] != asked:
            raise click.UsageError(f"{path} is of {self._found['asked']}: remove {path.parent} to begin anew")

    def once(self, name: str, run: Callable[[], Any]) -> Any:
        """What came of a run, now or before."""
        if name not in self._found:
            self._found[name] = run()
            written = self.path.with_suffix(".tmp")
            written.write_text(json.dumps(self._found, indent=1) + "\n")
            written.replace(self.path)
        return self._found[name]


@dataclass(frozen=True)
class Bench:
    """The hub and the script on one dataset."""

    settings: Settings
    dataset: str
    runs: Runs

    def fitting(self, name: str, minutes: float) -> int:
        """Epochs of a recipe that fit into the time, by a short run."""
        took = self.hub(name, PROBED)["seconds"]
        epochs = max(PROBED, int((60 * minutes - took["start"] - took["end"]) / took["epoch"]))
        click.echo(f"{name}: {epochs} epochs of {took['epoch']:.1f} s fit into {minutes:g} minutes")
        return epochs

    def hub(self, name: str, epochs: int, seed: int | None = None) -> Run:
        """A training by the hub."""
        given = RECIPES[name] | ({} if seed is None else {"seed": seed})
        return self.runs.once(f"hub, {name}, {epochs} epochs, {given}", lambda: self._hub(epochs, given))

    def _hub(self, epochs: int, given: dict[str, Any]) -> Run:
        plan = planned(self.settings, self.dataset, WORKERS, epochs=epochs, **given)
        trained = train(self.settings, plan, bar=sys.stderr.isatty())
        start, end = trained.seconds_to_first_step or 0.0, trained.seconds_after_last_step or 0.0
        epoch = (trained.seconds - start - end) / epochs
        last = trained.history[-1].validation_accuracy or 0.0
        click.echo(f"seed {plan.seed}, {given}: validation {last:.4f}, {trained.seconds / 60:.1f} minutes")
        return {
            "plan": asdict(plan) | {"batch_size": trained.batch},
            "seconds": {"all": trained.seconds, "start": start, "epoch": epoch, "end": end},
            "validation_accuracy": last,
            "test_accuracy": trained.evaluation.accuracy,
            "curve": [
                (round((start + row.epoch * epoch) / 60, 3), row.validation_accuracy)
                for row in trained.history
            ],
        }

    def scripts(self, ours: list[Run]) -> list[Run]:
        """The plain script with plan and seed of each of our runs, a core each."""
        cores = sorted(os.sched_getaffinity(0))
        parts = [ours[start : start + len(cores)] for start in range(0, len(ours), len(cores))]
        names = [f"script, {[run['plan'] for run in part]}" for part in parts]
        found = [
            self.runs.once(name, partial(self._scripts, part, cores))
            for name, part in zip(names, parts, strict=True)
        ]
        return [run for part in found for run in part]

    def _scripts(self, ours: list[Run], cores: list[int]) -> list[Run]:
        running = [
            subprocess.Popen(
                ["taskset", "-c", str(core), *self._command(run["plan"])],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            for core, run in zip(cores, ours, strict=False)
        ]
        found = []
        for process in running:
            output, _ = process.communicate()
            assert process.returncode == 0, process.args
            found.append(json.loads(output))
        return found

    def _command(self, plan: dict[str, Any]) -> list[str]:
        snapshot = self.settings.lake.at("snapshots", self.dataset)
        names = "epochs", "learning_rate", "weight_decay", "label_smoothing", "seed"
        backup = self.runs.path.parent / "scripts" / "-".join(str(plan[name]) for name in names)
        place = [snapshot, plan["architecture"], plan["batch_size"] * plan["workers"], plan["epochs"]]
        return [
            sys.executable, "-m", "benchmarks.script", *map(str, place), "--measured",
            "--seed", str(plan["seed"]), "--learning-rate", str(plan["learning_rate"]),
            "--weight-decay", str(plan["weight_decay"]), "--warmup-epochs", str(plan["warmup_epochs"]),
            "--label-smoothing", str(plan["label_smoothing"]), "--backup", str(backup),
        ]  # fmt: skip


@click.command()
@click.option("--archive", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--minutes", default=20.0, show_default=True, help="Of a run, from start to model.")
@click.option("--seeds", default=3, show_default=True, help="Runs of the best recipe.")
@click.option("--recipe", "names", multiple=True, type=click.Choice(list(RECIPES)), help="Only these.")
def main(archive: Path, minutes: float, seeds: int, names: tuple[str, ...]) -> None:
    """Measure, print tables, write build/bench/accuracy/results.json and accuracy.png."""
    folder = ground("accuracy")
    runs = Runs(folder / "runs.json", {"archive": archive.name, "minutes": minutes})

    def made() -> list[str]:
        own, dataset = datasets(settings_in(fresh("accuracy/data")), {archive})[archive]
        return [own.lake.root, dataset]

    root, dataset = runs.once("dataset", made)
    settings = settings_in(folder / "data").model_copy(update={"lake": Lake(root=root)})
    bench = Bench(settings, dataset, runs)
    names = names or tuple(RECIPES)
    tried = {name: bench.hub(name, bench.fitting(name, minutes)) for name in names}
    best = max(tried, key=lambda name: tried[name]["validation_accuracy"])
    first, epochs = tried[best]["plan"]["seed"], tried[best]["plan"]["epochs"]
    ours = [tried[best], *(bench.hub(best, epochs, first + number) for number in range(1, seeds))]
    theirs = bench.scripts(ours)
    results = {
        "minutes": minutes,
        "epochs": epochs,
        "recipe": best,
        "given": RECIPES[best],
        "hub": _accuracies([run["test_accuracy"] for run in ours]),
        "script": _accuracies([run["test_accuracy"] for run in theirs]),
        "minutes_of_the_hub": [round(run["seconds"]["all"] / 60, 2) for run in ours],
        "minutes_of_the_script_on_one_core": [round(run["seconds"] / 60, 2) for run in theirs],
        "curves": {name: run["curve"] for name, run in tried.items()},
    }
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    _draw(results, folder / "accuracy.png")
    _print(results, folder)


def _accuracies(found: list[float]) -> dict[str, Any]:
    spread = statistics.stdev(found) if len(found) > 1 else None
    return {"test_accuracies": found, "mean": statistics.fmean(found), "standard_deviation": spread}


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
    click.echo(f"Written to {folder / 'results.json'} and accuracy.png.")


if __name__ == "__main__":
    main()
