"""Attributes of an upload over HTTP: CloudEvents headers or query, completed by who sends it."""

from datetime import UTC, datetime

import pytest

from streaming.contract.envelope import parse
from tests.support import pictures
from tests.support.verdicts import rules
from web.access.principal import LOCAL, Principal, Proof, Role
from web.problems.problem import Problem
from web.uploads.request_fields import fields, record

PHONE = Principal("anna", Role.UPLOADER, Proof.KEY, "phone-7", "k1")
BROWSER = Principal("anna", Role.UPLOADER, Proof.SESSION)
GATEWAY = Principal("gateway", Role.ADMIN, Proof.KEY, "gate-1", "k2")


def test_a_key_completes_user_and_device() -> None:
    found = fields({"content-type": "image/heic"}, {"label": "cat"}, PHONE)
    assert (found["user"], found["source"], found["label"]) == ("anna", "/devices/phone-7", "cat")
    assert found["content-type"] == "image/heic"
    assert datetime.fromisoformat(found["time"]).tzinfo == UTC
    assert fields({}, {"label": "cat"}, PHONE)["id"] != found["id"]


def test_headers_come_before_the_query_and_are_percent_decoded() -> None:
    headers = {"ce-label": "Cr%C3%A8me%20br%C3%BBl%C3%A9e", "ce-id": "a", "ce-time": "2026-11-21T08:00:00Z"}
    found = fields(headers, {"label": "cat", "id": "b", "batch": "c"}, BROWSER)
    assert (found["label"], found["id"], found["batch"]) == ("Crème brûlée", "a", "c")
    raw = fields({"ce-label": "Crème".encode().decode("latin-1")}, {}, BROWSER)
    assert raw["label"] == "Crème", "UTF-8 that was not encoded"


def test_a_browser_names_its_device_and_an_open_hub_any_user() -> None:
    assert fields({}, {"label": "cat", "device": "web-1"}, BROWSER)["source"] == "/devices/web-1"
    assert fields({}, {"label": "cat"}, BROWSER)["source"] == "/devices/web"
    assert fields({}, {"label": "cat", "user": "bert"}, LOCAL)["user"] == "bert"
    assert fields({}, {"label": "cat", "user": "bert"}, GATEWAY)["user"] == "bert"
    assert fields({}, {"label": "cat", "device": "x"}, PHONE)["source"] == "/devices/phone-7"


@pytest.mark.parametrize("query", [{"user": "bert"}, {"source": "/devices/phone-8"}])
def test_nobody_sends_for_others(query: dict[str, str]) -> None:
    with pytest.raises(Problem) as refused:
        fields({}, {"label": "cat"} | query, PHONE)
    assert refused.value.status == 403


def test_the_record_is_one_that_ingestion_accepts() -> None:
    content = pictures.jpeg(seed=1)
    attributes = fields({}, {"label": "Cat", "geo": "52.5,13.4", "batch": "b", "id": "one"}, PHONE)
    made = record(content, attributes, rules())
    envelope = parse(made.key, made.headers, rules())
    assert envelope.problem is None
    assert (made.key, made.value) == (b"phone-7", content)
    assert (envelope.upload_id, envelope.device, envelope.user) == ("one", "phone-7", "anna")
    assert (envelope.label, envelope.label_name, envelope.geohash) == ("cat", "Cat", "u33d8")
    assert envelope.sha256 is not None


def test_unknown_attributes_do_not_reach_kafka() -> None:
    made = record(
        pictures.jpeg(seed=1), fields({"ce-secret": "x"}, {"label": "cat", "k": "v"}, PHONE), rules()
    )
    names = {name for name, _ in made.headers}
    assert names <= {"content-type", "ce_id", "ce_source", "ce_type", "ce_time", "ce_label", "ce_user",
                     "ce_specversion", "ce_sha256"}  # fmt: skip
