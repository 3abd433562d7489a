"""`hub predict`: few pictures are labelled in its own process, many on Spark's executors."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from conf.errors import UsageError
from conf.settings import Settings
from models.inference.picture_files import find_pictures
from models.inference.prediction import SPARK_THRESHOLD
from tests.support import colours
from tests.support.colours import COLOURS
from tests.support.commands import Hub

pytestmark = pytest.mark.services

ENDINGS = {3: ".heic", 8: ".avif", 9: ".mpo", 10: ".webp", 11: ".png", 12: ""}  # by number of the picture
MODEL = "by-hand-20261121-0800-0001"


@pytest.fixture(scope="module")
def model(settings: Settings) -> str:
    return colours.model(settings, MODEL)


def write_pictures(folder: Path, count: int) -> Path:
    """Pictures of one colour, which is in the name; number 7 is broken, the name of number 5 is not UTF-8.

    Some are of other formats; number 12 has no ending.
    """
    folder.mkdir()
    for number in range(count):
        name = list(COLOURS)[number % 3]
        content = b"\xff\xd8 broken" if number == 7 else colours.picture(name, ENDINGS.get(number, ".jpg"))
        start = f"{number:03}-" + os.fsdecode(b"k\xe4fer-" if number == 5 else b"")
        (folder / f"{start}{name}{ENDINGS.get(number, '.jpg')}").write_bytes(content)
    return folder


def predict(hub: Hub, model: str, folder: Path, events: Path) -> list[dict[str, Any]]:
    """The command's predictions. Spark, if it starts, has two executors and writes an event log."""
    events.mkdir()
    log = {"enabled": "true", "compress": "false", "dir": events.as_uri()}
    logged = " ".join(f"-Dspark.eventLog.{name}={value}" for name, value in log.items())
    done = hub(
        "predict", "--json", "--model", model, str(folder),
        HUB__SPARK__MASTER="local-cluster[2,1,1024]", JDK_JAVA_OPTIONS=logged,
        PYTHONIOENCODING="utf-8",
    )  # fmt: skip
    assert done.status == 0, done.stderr
    return json.loads(done.stdout)["predictions"]


def rows_by_executor(events: Path) -> dict[str, int]:
    """Rows that each executor got back from its Python workers, from Spark's event log."""
    rows: dict[str, int] = {}
    for file in (file for file in events.rglob("*") if file.is_file() and "appstatus" not in file.name):
        for event in map(json.loads, file.read_text().splitlines()):
            if event["Event"] == "SparkListenerTaskEnd":
                metrics = {each["Name"]: each.get("Update") for each in event["Task Info"]["Accumulables"]}
                if "data returned from Python workers" in metrics:
                    executor = event["Task Info"]["Executor ID"]
                    rows[executor] = rows.get(executor, 0) + int(metrics["number of output rows"])
    return rows


def file_name(number: int, label: str) -> str:
    """The file's name in the predictions."""
    return (
        f"{number:03}-"
        + ("k\N{REPLACEMENT CHARACTER}fer-" if number == 5 else "")
        + f"{label}{ENDINGS.get(number, '.jpg')}"
    )


def all_correct(rows: list[dict[str, Any]]) -> bool:
    return all(
        "cannot read" in row["error"] and row["label"] is None
        if number == 7
        else file_name(number, row["label"]) == Path(row["path"]).name and row["probability"] > 0.9
        for number, row in enumerate(rows)
    )


@pytest.mark.faults  # slow
def test_many_pictures_are_labelled_in_executors(hub: Hub, model: str, tmp_path: Path) -> None:
    folder, events = write_pictures(tmp_path / "many", SPARK_THRESHOLD + 26), tmp_path / "events"
    rows = predict(hub, model, folder, events)
    assert len(rows) == SPARK_THRESHOLD + 26
    assert all_correct(rows)
    spread = rows_by_executor(events)
    assert set(spread) == {"0", "1"}, "the driver or one executor did it all"
    assert sum(spread.values()) == SPARK_THRESHOLD + 26


def test_few_pictures_start_no_spark(hub: Hub, model: str, tmp_path: Path) -> None:
    folder, events = write_pictures(tmp_path / "few", SPARK_THRESHOLD), tmp_path / "events"
    rows = predict(hub, model, folder, events)
    assert len(rows) == SPARK_THRESHOLD
    assert all_correct(rows)
    assert not list(events.iterdir())


def test_predict_refuses_paths_without_pictures(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        find_pictures([str(tmp_path / "gone.jpg")])
    with pytest.raises(UsageError, match="contains no picture"):
        find_pictures([str(tmp_path)])
