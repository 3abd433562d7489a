"""Payload offloading: which pictures are stored, under which name, and failures of the store."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from conf.sections import Kafka
from conf.settings import Settings
from streaming.contract.producer_record import ProducerRecord, Unsent
from streaming.contract.record import Header
from streaming.upload import push_request
from streaming.upload.push_request import PushRequest
from tests.support import pictures
from tests.support.archives import foldered
from tests.support.commands import Hub
from tests.support.s3server import Bucket, FaultProxy
from tests.support.sent import producer_records
from tests.support.uploads import received

LARGE = [os.urandom(3000), os.urandom(4000)]
SMALL = pictures.jpeg(32, 32)[:1500]
MEMBERS = {"cat/0.jpg": LARGE[0], "cat/1.jpg": SMALL, "cat/2.jpg": LARGE[1], "dog/3.jpg": LARGE[0]}


def with_payload_store(settings: Settings, prefix: str, bucket: Bucket | None = None) -> Settings:
    payloads = settings.payloads.model_copy(update={"prefix": prefix, "inline_limit": 2000})
    return settings.model_copy(update={"payloads": payloads, "s3": bucket.s3 if bucket else settings.s3})


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def headers(record: ProducerRecord) -> dict[str, bytes | None]:
    found: list[Header] = record.headers
    return dict(found)


@pytest.mark.services
def test_large_pictures_are_stored_once_each(bucket: Bucket, settings: Settings, tmp_path: Path) -> None:
    request = PushRequest(str(foldered(tmp_path, MEMBERS)), "b", repeat=2)
    proxy = FaultProxy(bucket.s3.endpoint)
    with proxy.running() as endpoint:
        own = with_payload_store(settings, bucket.uri("in"), bucket)
        own = own.model_copy(update={"s3": own.s3.model_copy(update={"endpoint": endpoint})})
        first, inline, second, third, *again = producer_records(request, own)
        assert [record.value for record in (first, inline, second, third)] == [None, SMALL, None, None]
        for record, content in ((first, LARGE[0]), (second, LARGE[1]), (third, LARGE[0])):
            assert headers(record)["ce_dataref"] == bucket.uri(f"in/{sha256(content)}").encode()
            assert headers(record)["ce_sha256"] == sha256(content).encode()
        assert "ce_dataref" not in headers(inline)
        assert [headers(record).get("ce_dataref") for record in again] == [
            headers(record).get("ce_dataref") for record in (first, inline, second, third)
        ]
        writes = sum(method == "PUT" for method, _ in proxy.seen)
    assert sorted(bucket.keys()) == sorted(f"in/{sha256(content)}" for content in LARGE)
    assert writes == 2
    stored = bucket.client.get_object(Bucket=bucket.name, Key=f"in/{sha256(LARGE[0])}")["Body"].read()
    assert stored == LARGE[0]
    assert request.referenced == {"uploads": 6, "bytes": 20_000}


@pytest.mark.services
def test_incomplete_object_is_stored_again(bucket: Bucket, settings: Settings, tmp_path: Path) -> None:
    name = f"in/{sha256(LARGE[0])}"
    bucket.put({name: LARGE[0][:10]})
    producer_records(
        PushRequest(str(foldered(tmp_path, MEMBERS)), "b"),
        with_payload_store(settings, bucket.uri("in"), bucket),
    )
    assert bucket.client.head_object(Bucket=bucket.name, Key=name)["ContentLength"] == 3000


def test_folder_can_be_the_store(settings: Settings, tmp_path: Path) -> None:
    source, store = foldered(tmp_path / "source", MEMBERS), tmp_path / "store" / "in"
    sent = producer_records(
        PushRequest(str(source), "b", repeat=2), with_payload_store(settings, f"file://{store}")
    )
    assert headers(sent[0])["ce_dataref"] == f"file://{store}/{sha256(LARGE[0])}".encode()
    assert {file.name: file.read_bytes() for file in store.iterdir()} == {
        sha256(content): content for content in LARGE
    }


def test_without_a_store_only_the_record_limit_applies(settings: Settings, tmp_path: Path) -> None:
    content = bytes(settings.payloads.inline_limit + 1)
    sent = producer_records(PushRequest(str(foldered(tmp_path, {"cat/1.jpg": content})), "b"), settings)
    assert [record.value for record in sent] == [content]


@pytest.mark.services
@pytest.mark.parametrize(
    ("spoil", "message"),
    [(503, "busy: HTTP 503, at each of 3 attempts"), (403, "access denied"), ("stall", "answer")],
)
def test_picture_that_the_store_refuses_is_not_sent_but_reported(
    spoil: int | str, message: str, bucket: Bucket, settings: Settings, tmp_path: Path
) -> None:
    with FaultProxy(bucket.s3.endpoint, lambda method, path: spoil).running() as endpoint:
        own = with_payload_store(settings, bucket.uri("in"), bucket)
        s3 = own.s3.model_copy(update={"endpoint": endpoint, "read_seconds": 0.3})
        request = PushRequest(str(foldered(tmp_path, MEMBERS)), "b")
        sent = list(push_request.records(request, own.model_copy(update={"s3": s3})))
    unsent = [each.why for each in sent if isinstance(each, Unsent)]
    assert [each.value for each in sent if isinstance(each, ProducerRecord)] == [SMALL]
    assert len(unsent) == 3
    assert unsent[0].startswith(f"cat/0.jpg: {bucket.uri('in')}/{sha256(LARGE[0])}: ")
    assert message in unsent[0]
    assert request.referenced == {}


def test_hostile_uploads_of_referenced_pictures_break_the_intended_rule(
    settings: Settings, tmp_path: Path
) -> None:
    """An empty or broken value replaces the reference; no record has both."""
    members = {f"cat/{n}.jpg": os.urandom(3000) for n in range(5)}
    request = PushRequest(str(foldered(tmp_path / "in", members)), "b", devices=3, hostile=13)
    for record in producer_records(request, with_payload_store(settings, f"file://{tmp_path / 'store'}")):
        assert (record.value is None) == ("ce_dataref" in headers(record))


@pytest.mark.services
def test_push_says_how_many_went_by_reference(bucket: Bucket, kafka: Kafka, hub: Hub, tmp_path: Path) -> None:
    environment = {
        "HUB__S3__ENDPOINT": bucket.s3.endpoint,
        "HUB__KAFKA__BOOTSTRAP": kafka.bootstrap,
        "HUB__KAFKA__TOPIC": kafka.topic,
        "HUB__PAYLOADS__PREFIX": bucket.uri("in"),
        "HUB__PAYLOADS__INLINE_LIMIT": "2000",
    }
    source = str(foldered(tmp_path, MEMBERS))
    done = hub("push", source, "--json", **environment)
    assert done.status == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["acknowledged"], found["by_reference"], found["by_reference_bytes"]) == (4, 3, 10_000)
    assert sorted(each.value or b"" for each in received(kafka, kafka.topic)) == [b"", b"", b"", SMALL]
    assert (
        "3 of them by reference: 0.0 MB went to the object store" in hub("push", source, **environment).stdout
    )
