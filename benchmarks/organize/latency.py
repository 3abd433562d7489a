"""Seconds from an upload's row in the ledger to its embedding, group, cluster and label score.

    python -m benchmarks.organize.latency [--images 2000] [--singles 10] [--tens 5]

`hub ingest` and `hub organize --follow` run side by side on an embedded broker, as users run them. The lake
is filled and organized first, so both are warm. Then pictures are pushed one at a time, and ten at a time;
the next push waits until the one before is organized. Times are those of the Delta commits, so watching adds
nothing but a look into three folders. Printed are median and 95th percentile, and the lines of the follower.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import numpy as np

from benchmarks.ground import empty_folder, settings_in
from benchmarks.pictures import Kind, folder_of
from conf.places import base_dir
from conf.settings import Settings
from lake import row_writer
from lake.row_writer import literal
from lake.table import Table
from local import broker
from streaming import topics
from streaming.upload import producer, push_request
from streaming.upload.push_request import PushRequest

_KIND = Kind("latency 256 px", 256, 192, "jpg", 2600)
_COLUMNS = {"grouped": "duplicate_group", "clustered": "cluster", "scored": "label_quality"}
_WARM_UPS = 3  # pushes that are not counted
_PATIENCE_SECONDS = 120.0
_POLL_SECONDS = 0.05


@click.command()
@click.option("--images", type=int, default=2000, show_default=True, help="In the lake before.")
@click.option("--singles", type=int, default=10, show_default=True, help="Pushes of one picture.")
@click.option("--tens", type=int, default=5, show_default=True, help="Pushes of ten pictures.")
def main(images: int, singles: int, tens: int) -> None:
    """Measure, and print one JSON object."""
    work = empty_folder("latency")
    settings = settings_in(work)
    folder = folder_of(_KIND, work.parent / "pictures", None)
    files = sorted(folder.rglob("*.jpg"), key=lambda file: file.name)  # labels in turns
    waiting = iter(files[images:])
    with broker.running(settings) as bootstrap:
        environment = os.environ | _environment(work, bootstrap)
        topics.create(settings.kafka, bootstrap)
        _push(settings, bootstrap, work, files[:images])
        _hub(environment, "ingest", "--once")
        _hub(environment, "organize", "--once")
        with _running(environment, work, "ingest"), _running(environment, work, "organize", "--follow"):
            _wait(lambda: "following the ledger" in (work / "organize.log").read_text())
            results = {}
            for name, pushes, size in (("one", singles, 1), ("ten", tens, 10)):
                rounds = []
                for _ in range(_WARM_UPS + pushes):
                    chosen = [next(waiting) for _ in range(size)]
                    _push(settings, bootstrap, work, chosen)
                    rounds.append(_seconds(settings, chosen))
                results[name] = _percentiles(rounds[_WARM_UPS:]) | {"cold": rounds[0]}
    print(json.dumps(results, indent=2))
    print((work / "organize.log").read_text())


def _environment(work: Path, bootstrap: str) -> dict[str, str]:
    return {
        "HUB__KAFKA__BOOTSTRAP": bootstrap,
        "HUB__LAKE__ROOT": str(work / "lake"),
        "HUB__INGEST__INDEX_DIR": str(work / "index"),
        "HUB__ORGANIZE__INDEX_DIR": str(work / "vectors"),
        "HUB__LOGS__DIR": str(work / "logs"),
        "HUB__SPARK__WORK_DIR": str(work / "spark"),
        "PYTHONPATH": str(base_dir()),
    }


def _hub(environment: dict[str, str], *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "jobs.hub", *arguments], env=environment, check=True)


@contextmanager
def _running(environment: dict[str, str], work: Path, *arguments: str) -> Iterator[None]:
    """Run a command of the hub while the block runs; its output goes to a file."""
    with (work / f"{arguments[0]}.log").open("w") as log:
        command = [sys.executable, "-m", "jobs.hub", *arguments]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _push(settings: Settings, bootstrap: str, work: Path, files: list[Path]) -> None:
    folder = work / "push"
    shutil.rmtree(folder, ignore_errors=True)
    for file in files:
        target = folder / file.parent.name / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(file, target)
    request = push_request.records(PushRequest(str(folder), "latency"), settings)
    assert producer.push(settings.kafka, settings.push, bootstrap, request).acknowledged == len(files)


def _seconds(settings: Settings, files: list[Path]) -> dict[str, float]:
    """Wait until pictures are organized; seconds from the newest ledger row to each step."""
    wanted = {hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    times: dict[str, float] = {}
    versions = dict.fromkeys((Table.UPLOADS, Table.SAMPLES, Table.EMBEDDINGS), -1)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not {"ledger", "sample", "embedded", *_COLUMNS} <= times.keys():
        assert time.monotonic() < deadline, f"not organized in time: {times}"
        time.sleep(_POLL_SECONDS)
        for table, seen in versions.items():
            version, committed = _newest(settings, table)
            if version > seen:
                versions[table] = version
                for step in _steps_of(settings, table, wanted):
                    times.setdefault(step, committed)
    return {step: committed - times["ledger"] for step, committed in times.items() if step != "ledger"}


def _steps_of(settings: Settings, table: Table, wanted: set[str]) -> list[str]:
    """The steps that all wanted images have behind them, as far as a table tells."""
    names = list(_COLUMNS.values()) if table is Table.SAMPLES else []
    where = f"image_id IN ({literal(*wanted)})"
    rows = row_writer.read(settings, table, ["image_id", *names], where)
    if {row["image_id"] for row in rows} != wanted:
        return []
    own = {Table.UPLOADS: "ledger", Table.SAMPLES: "sample", Table.EMBEDDINGS: "embedded"}[table]
    return [
        own,
        *(step for step, name in _COLUMNS.items() if names and all(row[name] is not None for row in rows)),
    ]


def _newest(settings: Settings, table: Table) -> tuple[int, float]:
    """The newest version of a table, and when it was committed (seconds since 1970)."""
    log = Path(settings.lake.at(table, "_delta_log"))
    newest = max(file for file in log.iterdir() if re.fullmatch(r"\d{20}\.json", file.name))
    return int(newest.stem), newest.stat().st_mtime


def _percentiles(rounds: list[dict[str, float]]) -> dict[str, object]:
    """Median and 95th percentile of each step."""
    steps = ["sample", "embedded", *_COLUMNS]
    columns = {step: [each[step] for each in rounds] for step in steps}
    columns["all"] = [max(each.values()) for each in rounds]
    return {
        step: [round(float(np.percentile(values, share)), 2) for share in (50, 95)]
        for step, values in columns.items()
    }


def _wait(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not reached():
        assert time.monotonic() < deadline, "hub organize --follow did not start"
        time.sleep(_POLL_SECONDS)


if __name__ == "__main__":
    main()
