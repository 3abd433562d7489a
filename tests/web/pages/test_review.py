"""Review: decisions on pages and by the API change samples, are in the log, and can be undone."""

import re
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from conf.settings import Settings
from lake import row_writer
from lake.schemas import NONE_OF_THESE
from lake.table import Table
from tests.web.pages.browsers import browser
from web.access.principal import Role

API = "/api/v1/reviews"


@pytest.fixture
def client(own_world: Settings) -> Iterator[TestClient]:
    with browser(own_world) as client:
        yield client


def _sample(settings: Settings, image_id: str) -> dict[str, object]:
    columns = ("label", "label_source", "flags", "suggested_label")
    (row,) = row_writer.read(settings, Table.SAMPLES, columns, f"image_id = '{image_id}'")
    return row


def _queue(client: TestClient, **query: str | int | bool) -> list[dict[str, object]]:
    items: list[dict[str, object]] = client.get(f"{API}/queue", params=query).json()["items"]
    return items


def _decide(
    client: TestClient, image_id: object, decision: str, label: str | None = None
) -> dict[str, object]:
    choice = {"image_id": image_id, "decision": decision, "label": label}
    answer = client.post(API, json={"decisions": [choice]})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_the_queue_has_the_doubtful_pictures_first(client: TestClient) -> None:
    doubtful = _queue(client)
    assert len(doubtful) == 3
    assert all(item["suggested_label"] for item in doubtful)
    everything = _queue(client, unchecked=True, limit=200)
    assert [item["image_id"] for item in everything[:3]] == [item["image_id"] for item in doubtful]
    assert len(everything) == 28, "three of thirty pictures are near duplicates: one stands for all"
    assert {item["label"] for item in _queue(client, unchecked=True, label="frog")} == {"frog"}


def test_a_decision_changes_the_sample_and_is_logged_and_undone(
    client: TestClient, own_world: Settings
) -> None:
    item = _queue(client)[0]
    image_id, before = str(item["image_id"]), str(item["label"])
    _decide(client, image_id, "relabel", " Truck ")
    assert _sample(own_world, image_id)["label"] == "truck"
    assert _sample(own_world, image_id)["label_source"] == "corrected"
    _decide(client, image_id, "undo")
    assert _sample(own_world, image_id)["label"] == before
    client.resources.mirror.refresh()  # type: ignore[attr-defined]
    log = client.get(API).json()["items"]
    assert [each["kind"] for each in log] == ["undo", "relabel"]
    assert {each["user"] for each in log} == {"local"}


def test_a_confirmed_picture_leaves_the_queue(client: TestClient) -> None:
    item = _queue(client)[0]
    taken = _decide(client, item["image_id"], "keep")
    assert taken["decided"] == 1
    client.resources.mirror.refresh()  # type: ignore[attr-defined]
    assert item["image_id"] not in {each["image_id"] for each in _queue(client)}
    assert _decide(client, item["image_id"], "keep")["unchanged"] == 1


def test_two_people_have_to_agree_where_the_setting_says_so(own_world: Settings) -> None:
    web = own_world.web.model_copy(update={"review_agreement": 2})
    settings = own_world.model_copy(update={"web": web})
    with browser(settings) as client:
        accounts = client.resources.accounts  # type: ignore[attr-defined]
        image_id = str(_queue(client)[0]["image_id"])
        keys = {}
        for name in ("ann", "bob", "cid"):
            _, secret = accounts.make_key(name, f"{name}-phone", Role.REVIEWER)
            keys[name] = {"authorization": f"Bearer {secret}"}
        choose = {
            name: {"decisions": [{"image_id": image_id, "decision": "relabel", "label": label}]}
            for name, label in (("ann", "frog"), ("bob", "truck"), ("cid", "Frog"))
        }
        assert client.post(API, json=choose["ann"], headers=keys["ann"]).json()["waiting"] == 1
        assert client.post(API, json=choose["ann"], headers=keys["ann"]).json()["waiting"] == 1
        assert client.post(API, json=choose["bob"], headers=keys["bob"]).json()["waiting"] == 1
        assert _sample(settings, image_id)["label_source"] == "claimed"
        queue = client.get(f"{API}/queue", headers=keys["ann"]).json()["items"]
        assert image_id not in {each["image_id"] for each in queue}, "she has voted already"
        assert client.post(API, json=choose["cid"], headers=keys["cid"]).json()["decided"] == 1
        assert _sample(settings, image_id)["label"] == "frog"


def test_all_pictures_of_a_filter_are_decided_at_once(client: TestClient, own_world: Settings) -> None:
    form = {
        "decision": "none_of_these", "scope": "all", "label": "dog", "cluster": "dog-1",
        "back": "/labels/dog?x=1",
    }  # fmt: skip
    answer = client.post("/review/decide", data=form, follow_redirects=False)
    assert answer.status_code == 303
    where = re.fullmatch(r"/labels/dog\?x=1&done=(dec-\w+)", answer.headers["location"])
    assert where is not None
    rows = row_writer.read(own_world, Table.SAMPLES, ("label", "cluster", "flags"))
    rejected = [row for row in rows if NONE_OF_THESE in row["flags"]]
    assert {row["label"] for row in rejected} == {"dog"}
    assert 0 < len(rejected) < sum(row["label"] == "dog" for row in rows)
    page = client.get(answer.headers["location"]).text
    assert where.group(1) in page
    client.post("/review/undo", data={"decision_id": where.group(1)})
    rows = row_writer.read(own_world, Table.SAMPLES, ("flags",))
    assert not [row for row in rows if NONE_OF_THESE in row["flags"]]


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"decision": "keep"}, "no picture is selected"),
        ({"decision": "eat", "image": "x"}, "a decision is relabel"),
        ({"decision": "relabel", "image": "x"}, "needs the new label"),
        ({"decision": "keep", "image": "x"}, "no sample has the image id"),
    ],
)
def test_a_form_that_cannot_be_met_changes_nothing_and_says_why(
    client: TestClient, form: dict[str, str], says: str
) -> None:
    answer = client.post("/review/decide", data=form)
    assert answer.status_code == 422
    assert says in answer.text
    assert client.get(API).json()["items"] == []


def test_a_form_does_not_lead_to_another_site(client: TestClient) -> None:
    image_id = _queue(client)[0]["image_id"]
    form = {"decision": "keep", "image": image_id, "back": "//evil.example/"}
    answer = client.post("/review/decide", data=form, follow_redirects=False)
    assert answer.headers["location"].startswith("/?done=")
