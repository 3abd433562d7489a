"""The page that trains: what can be chosen, and what it says when something is missing."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from conf.settings import Settings
from tests.web.pages.browsers import browser


@pytest.fixture
def client(own_world: Settings) -> Iterator[TestClient]:
    with browser(own_world) as client:
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


def test_an_unknown_training_is_404(client: TestClient) -> None:
    assert client.get("/trainings/no").status_code == 404
    assert client.delete("/api/v1/trainings/no").status_code == 404
