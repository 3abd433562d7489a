"""The queue of trainings: one at a time, cancelled, failed, and found again by the next server."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.support.waiting import wait_until
from web.trainings.training_queue import TrainingQueue
from web.trainings.training_request import Start, TrainingRequest
from web.trainings.training_store import Training, TrainingState

# A process that behaves as `hub train` does: it names its model, waits for a file, prints one JSON object.
_PROGRAM = """
import json, pathlib, sys, time
labels = sys.argv[sys.argv.index("--labels") + 1]
print("training model-" + labels.replace(",", "-"), file=sys.stderr, flush=True)
if "broken" in labels:
    print("hub train: error: the label broken has 3 images", file=sys.stderr)
    sys.exit(1)
while not pathlib.Path(sys.argv[1], "go").exists():
    time.sleep(0.02)
print(json.dumps({"model_id": "model-" + labels.replace(",", "-"), "arguments": sys.argv[2:]}))
"""


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    return [sys.executable, "-c", _PROGRAM, str(tmp_path)]


@pytest.fixture
def queue(tmp_path: Path, program: list[str]) -> Iterator[TrainingQueue]:
    queue = TrainingQueue(tmp_path, 1, program)
    queue.start()
    yield queue
    (tmp_path / "go").touch()
    for training in queue.store.open():
        queue.cancel(training.training_id)
    queue.stop()


def _wait(queue: TrainingQueue, training: Training, state: TrainingState) -> Training:
    def now() -> Training:
        found = queue.store.get(training.training_id)
        assert found is not None
        return found

    assert wait_until(lambda: now().state is state, 30), now()
    return now()


def test_one_training_runs_and_others_wait(queue: TrainingQueue, tmp_path: Path) -> None:
    first = queue.ask(TrainingRequest(labels=["cat", "dog"], epochs=3), "ann")
    second = queue.ask(TrainingRequest(labels=["car", "bus"]), "bob")
    _wait(queue, first, TrainingState.RUNNING)
    waiting = queue.store.get(second.training_id)
    assert waiting is not None
    assert (waiting.state, queue.place(second.training_id)) == (TrainingState.QUEUED, 1)
    (tmp_path / "go").touch()
    assert _wait(queue, first, TrainingState.DONE).model_id == "model-cat-dog"
    assert _wait(queue, second, TrainingState.DONE).model_id == "model-car-bus"
    result = json.loads((tmp_path / "trainings" / f"{first.training_id}.out").read_bytes())
    wanted = ["train", "--labels", "cat,dog", "--workers", "2", "--json", "--epochs", "3"]
    assert result["arguments"] == wanted


def test_a_failed_training_says_why(queue: TrainingQueue) -> None:
    training = queue.ask(TrainingRequest(labels=["broken", "dog"]), "ann")
    failed = _wait(queue, training, TrainingState.FAILED)
    assert failed.detail == "the label broken has 3 images"
    assert failed.model_id == "model-broken-dog"


def test_a_cancelled_training_ends_and_the_next_begins(queue: TrainingQueue) -> None:
    first = queue.ask(TrainingRequest(labels=["cat", "dog"]), "ann")
    second = queue.ask(TrainingRequest(labels=["car", "bus"]), "ann")
    third = queue.ask(TrainingRequest(labels=["car", "cat"]), "ann")
    running = _wait(queue, first, TrainingState.RUNNING)
    queue.cancel(third.training_id)
    queue.cancel(first.training_id)
    _wait(queue, second, TrainingState.RUNNING)
    assert _wait(queue, first, TrainingState.CANCELLED).ended
    assert _wait(queue, third, TrainingState.CANCELLED).started is None
    assert not Path(f"/proc/{running.pid}/cmdline").exists()


def test_a_training_outlives_the_server_and_is_found_by_the_next(tmp_path: Path, program: list[str]) -> None:
    before = TrainingQueue(tmp_path, 1, program)
    before.start()
    training = before.ask(TrainingRequest(labels=["cat", "dog"]), "ann")
    running = _wait(before, training, TrainingState.RUNNING)
    before.stop()
    after = TrainingQueue(tmp_path, 1, program)
    after.start()
    later = after.ask(TrainingRequest(labels=["car", "bus"]), "ann")
    found = after.store.get(training.training_id)
    assert found is not None
    assert (found.state, found.pid) == (TrainingState.RUNNING, running.pid)
    (tmp_path / "go").touch()
    before._children[training.training_id].wait(20)  # as init does for the children of a dead server
    assert _wait(after, training, TrainingState.DONE).model_id == "model-cat-dog"
    _wait(after, later, TrainingState.DONE)
    after.stop()


def test_a_process_that_took_over_the_number_of_another_is_not_taken_for_it(
    tmp_path: Path, program: list[str]
) -> None:
    queue = TrainingQueue(tmp_path, 1, program)
    training = queue.store.add(TrainingRequest(labels=["cat", "dog"]), "ann")
    queue.store.begin(training.training_id, 1, 12345)  # process 1 runs, but was started at another time
    queue.start()
    failed = _wait(queue, training, TrainingState.FAILED)
    assert failed.detail == "its process ended without a result"
    queue.stop()


@pytest.mark.parametrize(
    "wanted",
    [
        {"labels": ["cat"]},
        {"labels": ["cat", "--help"]},
        {"labels": ["cat", "dog,frog"]},
        {"labels": ["cat", "dog"], "architecture": "--again"},
        {"labels": ["cat", "dog"], "start": "model", "source": "--weights"},
        {"labels": ["cat", "dog"], "start": "pretrained", "architecture": "resnet20"},
        {"labels": ["cat", "dog"], "workers": 0},
    ],
)
def test_a_request_cannot_put_flags_into_the_command(wanted: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TrainingRequest.model_validate(wanted)


def test_a_start_becomes_the_flags_of_the_command() -> None:
    labels = ["cat", "dog"]
    published = TrainingRequest(labels=labels, start=Start.PRETRAINED, architecture="efficientnet-lite0")
    assert published.arguments()[-3:] == ["--arch", "efficientnet-lite0", "--pretrained"]
    model = TrainingRequest(labels=labels, start=Start.MODEL, source="resnet20-1", again=True)
    assert model.arguments()[-3:] == ["--from", "resnet20-1", "--again"]
