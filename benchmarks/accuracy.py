"""Benchmark of accuracy in a given time: ResNet-20 on two workers by recipe; the best against a Keras script.

    make bench-accuracy ARCHIVE=pictures.zip            20 minutes per run, 3 seeds
    make bench-accuracy ARCHIVE=pictures.zip MINUTES=5

Each recipe is trained once, for as many epochs as fit into the time. The recipe with the best final
validation accuracy is trained with further seeds, by the hub and by the script; only these runs use the test
split. This takes hours: each run is saved when it ends, and the same command resumes after the last of them.
Delete build/bench/accuracy to start again.
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

from benchmarks.ground import bench_folder, empty_folder, quiet_libraries, settings_in
from benchmarks.training import make_datasets
from conf.sections import Lake
from conf.settings import Settings
from jobs.cli.text_table import format_table
from models.runs.train import make_plan, train

WORKERS = 2
PROBE_EPOCHS = 4  # of the short run that measures the time of an epoch
RECIPES: dict[str, dict[str, Any]] = {
    "settings as they come": {},
    "weight decay 0.0005": {"weight_decay": 5e-4},
    "weight decay 0.0005, twice the rate": {"weight_decay": 5e-4, "learning_rate": 0.2},
    "weight decay 0.0005, smoothing 0.1": {"weight_decay": 5e-4, "label_smoothing": 0.1},
    "weight decay 0.001, local normalization": {"weight_decay": 1e-3, "normalization": "local"},
}


Run = dict[str, Any]  # settings and metrics of a training


class SavedRuns:
    """Results of runs, saved to a JSON file after each run, so that the benchmark can be resumed.

    Args:
        path: of the file.
        parameters: of the benchmark; a file with other parameters is refused.
    """

    def __init__(self, path: Path, parameters: dict[str, Any]) -> None:
        self.path = path
        self._results: dict[str, Any] = (
            json.loads(path.read_text()) if path.exists() else {"asked": parameters}
        )
        if self._results["asked"] != parameters:
            raise click.UsageError(
                f"{path} is for {self._results['asked']}: delete {path.parent} to start again"
            )

    def get_or_run(self, name: str, run: Callable[[], Any]) -> Any:
        """The saved result of a run, or the result of running it now."""
        if name not in self._results:
            self._results[name] = run()
            temporary = self.path.with_suffix(".tmp")
            temporary.write_text(json.dumps(self._results, indent=1) + "\n")
            temporary.replace(self.path)
        return self._results[name]


@dataclass(frozen=True)
class Bench:
    """Runs of the hub and of the script on one dataset."""

    settings: Settings
    dataset: str
    runs: SavedRuns

    def epochs_within(self, name: str, minutes: float) -> int:
        """Number of epochs of a recipe that fit into the time, estimated by a short run."""
        seconds = self.hub(name, PROBE_EPOCHS)["seconds"]
        epochs = max(PROBE_EPOCHS, int((60 * minutes - seconds["start"] - seconds["end"]) / seconds["epoch"]))
        click.echo(f"{name}: {epochs} epochs of {seconds['epoch']:.1f} s fit into {minutes:g} minutes")
        return epochs

    def hub(self, name: str, epochs: int, seed: int | None = None) -> Run:
        """A training run of the hub."""
        given = RECIPES[name] | ({} if seed is None else {"seed": seed})
        return self.runs.get_or_run(
            f"hub, {name}, {epochs} epochs, {given}", lambda: self._hub(epochs, given)
        )

    def _hub(self, epochs: int, given: dict[str, Any]) -> Run:
        plan = make_plan(self.settings, self.dataset, WORKERS, epochs=epochs, **given)
        quiet_libraries()
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
        """Runs of the script with plan and seed of each of the hub's runs, one core each."""
        cores = sorted(os.sched_getaffinity(0))
        groups = [ours[start : start + len(cores)] for start in range(0, len(ours), len(cores))]
        names = [f"script, {[run['plan'] for run in group]}" for group in groups]
        results = [
            self.runs.get_or_run(name, partial(self._scripts, group, cores))
            for name, group in zip(names, groups, strict=True)
        ]
        return [run for group in results for run in group]

    def _scripts(self, ours: list[Run], cores: list[int]) -> list[Run]:
        running = [
            subprocess.Popen(
                ["taskset", "-c", str(core), *self._command(run["plan"])],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            for core, run in zip(cores, ours, strict=False)
        ]
        results = []
        for process in running:
            output, _ = process.communicate()
            assert process.returncode == 0, process.args
            results.append(json.loads(output))
        return results

    def _command(self, plan: dict[str, Any]) -> list[str]:
        snapshot = self.settings.lake.at("snapshots", self.dataset)
        names = "epochs", "learning_rate", "weight_decay", "label_smoothing", "seed"
        backup = self.runs.path.parent / "scripts" / "-".join(str(plan[name]) for name in names)
        positional = [snapshot, plan["architecture"], plan["batch_size"] * plan["workers"], plan["epochs"]]
        return [
            sys.executable, "-m", "benchmarks.script", *map(str, positional), "--measured",
            "--seed", str(plan["seed"]), "--learning-rate", str(plan["learning_rate"]),
            "--weight-decay", str(plan["weight_decay"]), "--warmup-epochs", str(plan["warmup_epochs"]),
            "--label-smoothing", str(plan["label_smoothing"]), "--backup", str(backup),
        ]  # fmt: skip


@click.command()
@click.option("--archive", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--minutes", default=20.0, show_default=True, help="Minutes per run, from start to model.")
@click.option("--seeds", default=3, show_default=True, help="Runs of the best recipe.")
@click.option("--recipe", "names", multiple=True, type=click.Choice(list(RECIPES)), help="Only these.")
def main(archive: Path, minutes: float, seeds: int, names: tuple[str, ...]) -> None:
    """Measure, print tables, write build/bench/accuracy/results.json and accuracy.png."""
    folder = bench_folder("accuracy")
    runs = SavedRuns(folder / "runs.json", {"archive": archive.name, "minutes": minutes})

    def make_dataset() -> list[str]:
        own, dataset = make_datasets(settings_in(empty_folder("accuracy/data")), {archive})[archive]
        return [own.lake.root, dataset]

    root, dataset = runs.get_or_run("dataset", make_dataset)
    settings = settings_in(folder / "data").model_copy(update={"lake": Lake(root=root)})
    bench = Bench(settings, dataset, runs)
    names = names or tuple(RECIPES)
    tried = {name: bench.hub(name, bench.epochs_within(name, minutes)) for name in names}
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


def _accuracies(values: list[float]) -> dict[str, Any]:
    spread = statistics.stdev(values) if len(values) > 1 else None
    return {"test_accuracies": values, "mean": statistics.fmean(values), "standard_deviation": spread}


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
    click.echo(
        format_table(["recipe", "epochs", "minutes", "validation accuracy"], lines, title="One seed each")
    )
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
    click.echo(format_table(["", "mean", "standard deviation", *seeds], lines, title=title))
    click.echo(f"Written to {folder / 'results.json'} and accuracy.png.")


if __name__ == "__main__":
    main()
