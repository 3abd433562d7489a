"""Benchmark of training on one GPU: the worker's real loop beside plain Keras `fit`, with and without XLA.

    make bench-gpu                       on a machine with a GPU
    make bench-gpu ONLY=resnet20         loads of one architecture; what is measured last stays in the table
    make bench-gpu INPUTS=1              what the cores prepare, without training; needs no GPU
    make bench-gpu ALLOW_CPU=1           a trial with small loads; its ratios say nothing about GPUs

Each training runs in a process of its own, one after the other. Spark, Kafka and Java are not needed.
"""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from benchmarks.gpu import inputs
from benchmarks.gpu.loads import LOADS, SMALL, snapshot_of
from benchmarks.gpu.worker import Order
from conf.places import base_dir
from jobs.cli.text_table import format_table
from models.pictures.cores import task_cores

EPOCHS = 6
SMALL_EPOCHS = 3
_DEVICE = (
    "import json, tensorflow as tf; gpus = tf.config.list_physical_devices('GPU'); "
    "print(json.dumps([tf.config.experimental.get_device_details(gpu)['device_name'] for gpu in gpus]))"
)
_UNSEEN = "no GPU: TensorFlow sees none on this machine; ALLOW_CPU=1 tries the benchmark on the processor"
Row = dict[str, float | str | None]


@click.command()
@click.option("--only", multiple=True, help="Architecture; may be repeated.")
@click.option("--allow-cpu", is_flag=True, help="Try it on the processor, with small loads.")
@click.option("--inputs", "only_inputs", is_flag=True, help="Measure only what input processes prepare.")
@click.option("--epochs", type=click.IntRange(1), help="Of each training; the first two are not counted.")
@click.option("--deterministic", is_flag=True, help="Also train with train.deterministic.")
def main(
    only: tuple[str, ...], allow_cpu: bool, only_inputs: bool, epochs: int | None, deterministic: bool
) -> None:
    """Measure, print a table, write build/bench/gpu/gpu.json."""
    cores, folder = task_cores(), base_dir() / "build" / "bench" / "gpu"
    folder.mkdir(parents=True, exist_ok=True)
    if only_inputs:
        click.echo(_inputs(folder, cores))
        return
    found: Any = _answer(["-c", _DEVICE])
    if not found and not allow_cpu:
        raise click.ClickException(_UNSEEN)
    small = not found
    device = f"{found[0]}, {cores} cores" if found else f"no GPU, {cores} cores: a trial with small loads"
    loads = [load for load in (SMALL if small else LOADS) if not only or load.architecture in only]
    file = folder / "gpu.json"
    rows = _earlier(file, device)
    for load in loads:
        snapshot_of(load, folder, small)
        order = Order(load, str(folder), epochs or (SMALL_EPOCHS if small else EPOCHS), cores, "auto", small)
        rows[load.name] = _row(order, deterministic)
        file.write_text(json.dumps({"device": device, "rows": list(rows.values())}, indent=1) + "\n")
        click.echo(f"{load.name}: {rows[load.name]['hub']:,.0f} images/s", err=True)
    click.echo(_table(device, list(rows.values())))
    click.echo(f"Written to {file}.")


def _earlier(file: Path, device: str) -> dict[str, Row]:
    """Rows of earlier runs on the same device, by load."""
    if not file.exists():
        return {}
    found: dict[str, Any] = json.loads(file.read_text())
    return {row["load"]: row for row in found["rows"]} if found["device"] == device else {}


def _inputs(folder: Path, cores: int) -> str:
    """Measure the input of each kind by number of processes, write inputs.json, and return a table."""
    counts = inputs.process_counts(cores)
    rates = {load.name: [inputs.measure(load, folder, count) for count in counts] for load in inputs.KINDS}
    (folder / "inputs.json").write_text(json.dumps({"processes": counts, "rates": rates}, indent=1) + "\n")
    cells = [[name, *(f"{rate:,.0f}" for rate in row)] for name, row in rates.items()]
    header = ["", *(f"{count} processes" for count in counts)]
    return format_table(header, cells, title=f"Input, images a second, {cores} cores")


def _row(order: Order, deterministic: bool) -> Row:
    hub = _measured("worker", order)
    row: Row = {
        "load": order.load.name,
        "hub": round(hub["images_per_second"], 1),
        "input_wait_share": round(hub["input_wait_share"], 4),
        "hub_first_step": round(hub["seconds_to_first_step"], 1),
    }
    if order.load.plain:
        plain, compiled = (_measured("plain", _with(order, jit=jit)) for jit in ("off", "on"))
        row |= {
            "fit": round(plain["images_per_second"], 1),
            "fit_jit": round(compiled["images_per_second"], 1),
            "hub_to_fit_jit": round(hub["images_per_second"] / compiled["images_per_second"], 3),
            "fit_jit_first_step": round(compiled["seconds_to_first_step"], 1),
        }
    if deterministic:
        exact = _measured("worker", _with(order, deterministic=True))
        row["deterministic_to_hub"] = round(exact["images_per_second"] / hub["images_per_second"], 3)
    return row


def _with(order: Order, **changes: object) -> Order:
    return Order.read(json.dumps(asdict(order) | changes))


def _measured(module: str, order: Order) -> dict[str, float]:
    answer: Any = _answer(["-m", f"benchmarks.gpu.{module}", json.dumps(asdict(order))])
    return answer


def _answer(arguments: list[str]) -> object:
    """The last line of a Python process, as JSON."""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, *arguments], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines()[-12:]
        raise click.ClickException(f"{' '.join(arguments[:2])} failed:\n" + "\n".join(lines))
    return json.loads(done.stdout.strip().splitlines()[-1])


def _table(device: str, rows: list[Row]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    return format_table([name.replace("_", " ") for name in names], cells, title=f"Images a second: {device}")


def _cell(value: float | str | None) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else f"{value:,.4g}" if value < 100 else f"{value:,.0f}"


if __name__ == "__main__":
    main()
