"""The page that trains: what can be chosen, and what it says when something is missing."""

import html
import os
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from conf.settings import Settings
from models.evaluation import artifacts
from models.registry import model_cards
from models.registry.model_cards import State
from models.runs.live_progress import PROGRESS
from tests.web.pages.browsers import browser
from web.trainings.training_queue import _start_time
from web.trainings.training_request import TrainingRequest
from web.trainings.training_store import TrainingState


@pytest.fixture
def client(own_world: Settings) -> Iterator[TestClient]:
    web = own_world.web.model_copy(update={"trainings_at_once": 0})
    with browser(own_world.model_copy(update={"web": web})) as client:
        yield client


def test_labels_say_what_they_have_and_lack(client: TestClient) -> None:
    page = client.get("/train").text
    assert "6, 94 missing" in page
    assert "published weights, efficientnet-lite0" in page
    assert '<option value="model:resnet20-ready">' in page
    assert "resnet20-failed" not in page


def test_one_label_is_refused_with_the_reason_and_the_choice_stays(client: TestClient) -> None:
    answer = client.post("/train", data={"label": "cat"})
    assert answer.status_code == 422
    assert "Choose at least two labels" in answer.text
    assert 'value="cat" data-images="6" data-ready="" checked' in answer.text
    assert client.get("/api/v1/trainings").json() == []


def test_labels_of_a_failed_model_are_chosen_again(client: TestClient) -> None:
    page = client.get("/train?again=resnet20-failed").text
    assert page.count(" checked>") == 6  # five labels, and to train again


def test_a_failed_training_says_why_and_its_labels_are_chosen_again(client: TestClient) -> None:
    trainings = client.resources.trainings  # type: ignore[attr-defined]
    failed = trainings.store.add(TrainingRequest(labels=["cat", "frog"]), "anna")
    why = "no space left in /lake: free some, and train again"
    trainings.store.end(failed.training_id, TrainingState.FAILED, why)
    page = client.get(f"/trainings/{failed.training_id}").text
    assert why in page
    (way,) = re.findall(r'href="(/train\?[^"]+)">Choose again', page)
    form = client.get(html.unescape(way)).text
    assert re.findall(r'name="label" value="(\w+)"[^>]* checked', form) == ["cat", "frog"]


_EPOCH = "epoch,loss,accuracy,validation_loss,validation_accuracy\n1,2.3,0.5,,\n"
_STARTED = {"epoch": 0, "epochs": 12, "step": 0, "steps": 0, "doing": "starting"}
_STEPPING = _STARTED | {"epoch": 1, "step": 3, "steps": 4, "doing": "training"}


@pytest.mark.parametrize(
    ("progress", "history", "says"),
    [
        (None, "", "workers start"),
        ({}, "", "workers start"),
        (_STARTED, "", "workers start"),
        (_STARTED | {"steps": 4, "doing": "training"}, "", "Training, epoch 0 of 12"),
        (_STEPPING, _EPOCH, "Training, epoch 1 of 12"),
        (_STEPPING | {"doing": "validating epoch 1"}, _EPOCH, "Validating, epoch 1 of 12"),
        (_STEPPING | {"images_per_second": 12.5, "doing": "writing the model"}, _EPOCH, "Writing the model"),
    ],
)
def test_a_training_is_shown_at_each_moment(
    client: TestClient, own_world: Settings, progress: dict[str, object] | None, history: str, says: str
) -> None:
    ready = model_cards.any_card(own_world, "resnet20-ready")
    card = replace(ready, model_id="resnet20-new", state=State.TRAINING, accuracy=None)
    model_cards.write_card(own_world, card)
    files = model_cards.artifact_storage(own_world, "resnet20-new")
    if progress is not None:
        files.write_json(PROGRESS, progress)
    if history:
        files.write(artifacts.HISTORY, history.encode())
    trainings = client.resources.trainings  # type: ignore[attr-defined]
    training = trainings.store.add(TrainingRequest(labels=["cat", "frog"]), "anna")
    trainings.store.begin(training.training_id, os.getpid(), _start_time(os.getpid()))
    trainings.store.set_model(training.training_id, "resnet20-new")
    for path in (f"/trainings/{training.training_id}/progress", "/models/resnet20-new/progress"):
        page = client.get(path)
        assert page.status_code == 200, page.text
        assert page.text.count("<polyline") == (4 if history else 0)
    assert says in client.get(f"/trainings/{training.training_id}").text


def test_an_unknown_training_is_404(client: TestClient) -> None:
    assert client.get("/trainings/no").status_code == 404
    assert client.delete("/api/v1/trainings/no").status_code == 404
