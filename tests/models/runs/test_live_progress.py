"""Progress of a run that others read: after each epoch and now and then, and never a reason to fail."""

import csv
import io
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from conf.sections import S3
from lake.errors import StorageError
from lake.storage import Storage
from models.evaluation import artifacts
from models.messages import EpochEnded, Message, Started, Stepped, Working
from models.runs.live_progress import PROGRESS, LiveProgress
from models.runs.run_state import RunState


def _at_once(function: Callable[..., Any], *args: Any) -> "Future[Any]":
    done: Future[Any] = Future()
    done.set_result(function(*args))
    return done


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path), S3.model_construct())


def _send(progress: LiveProgress, state: RunState, *messages: Message) -> None:
    for message in messages:
        state.add(message, 0.0)
        progress.on_message(message, state)


def test_an_epoch_that_ended_is_in_the_files_at_once(storage: Storage) -> None:
    progress, state = LiveProgress(storage, 3, 2, _at_once), RunState(2, 0.0)
    _send(progress, state, Started(0, 3, 10, 32, 0), Stepped(0, 1, 4, 100.0, 1.5, 0.4))
    assert storage.read_json(PROGRESS)["steps"] == 10
    _send(progress, state, EpochEnded(0, 1, 1.2, 0.5, 1.4, 0.45, 0.1, 3.0, 200.0))
    found = storage.read_json(PROGRESS)
    assert (found["epoch"], found["epochs"], found["step"]) == (1, 3, 10)
    assert found["images_per_second"] == 200.0, "of both workers"
    (row,) = csv.DictReader(io.StringIO(storage.read(artifacts.HISTORY).decode()))
    assert (row["epoch"], row["validation_accuracy"]) == ("1", "0.45")


def test_steps_in_quick_succession_are_written_once(storage: Storage) -> None:
    progress, state = LiveProgress(storage, 3, 1, _at_once), RunState(1, 0.0)
    _send(progress, state, Started(0, 3, 10, 32, 0), *(Stepped(0, 1, n, 1.0, 1.0, 0.1) for n in range(1, 9)))
    assert storage.read_json(PROGRESS)["step"] == 0
    _send(progress, state, Working(0, "testing"))
    found = storage.read_json(PROGRESS)
    assert (found["step"], found["doing"]) == (8, "testing")


def test_a_write_that_fails_does_not_end_the_run(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(Storage, "write", full)
    monkeypatch.setattr(Storage, "write_json", full)
    progress, state = LiveProgress(storage, 1, 1, _at_once), RunState(1, 0.0)
    _send(progress, state, Started(0, 1, 10, 32, 0), EpochEnded(0, 1, 1.2, 0.5, None, None, 0.1, 3.0, 200.0))
