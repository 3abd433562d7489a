"""Records made from a source: ids, devices, hostile uploads; no broker needed."""

from pathlib import Path

import pytest

from conf.errors import UsageError
from conf.settings import Settings
from streaming.contract.producer_record import ProducerRecord, Unsent
from streaming.errors import BadSource
from streaming.upload import push_request
from streaming.upload.push_request import PushRequest
from tests.support import pictures
from tests.support.sent import header, producer_records


def test_uploads_have_ids_devices_users_and_hashes(settings: Settings, tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for n in range(10):
            (tmp_path / label / f"{n}.jpg").write_bytes(pictures.jpeg(seed=n))
    request = PushRequest(str(tmp_path), "batch 7", devices=3, repeat=2)
    sent = producer_records(request, settings)
    assert len(sent) == 40
    assert len({header(record, "ce_id") for record in sent}) == 40
    assert [record.key for record in sent[:4]] == [b"phone-001", b"phone-002", b"phone-003", b"phone-001"]
    assert {header(record, "ce_source") for record in sent} == {f"/devices/phone-00{n}" for n in (1, 2, 3)}
    assert {header(record, "ce_batch") for record in sent} == {"batch 7"}
    assert request.labels == {"cat": 20, "dog": 20}
    assert [record.value for record in sent[:20]] == [record.value for record in sent[20:]]


def test_each_device_has_one_user(settings: Settings) -> None:
    sent = producer_records(PushRequest("digits", "b", limit=60), settings)
    users = {(record.key, header(record, "ce_user")) for record in sent}
    assert len(users) == len({record.key for record in sent}) == 25


def test_same_request_gives_the_same_pictures_to_the_same_devices(settings: Settings) -> None:
    first, second = (
        producer_records(PushRequest("digits", "b", limit=40, hostile=14), settings) for _ in range(2)
    )
    assert [(r.key, r.value) for r in first] == [(r.key, r.value) for r in second]


def test_hostile_uploads_are_mixed_in_and_counted(settings: Settings) -> None:
    request = PushRequest("digits", "b", hostile=30, limit=400)
    sent = producer_records(request, settings)
    assert len(sent) == 430
    assert request.expected.total() == 30
    values = [len(record.value or b"") for record in sent]
    first_twenty = producer_records(PushRequest("digits", "b", limit=20), settings)
    assert [record.value for record in sent[:20]] == [record.value for record in first_twenty]
    assert values.index(0) < 100  # an empty one comes early, not all at the end


def test_picture_above_the_inline_limit_is_not_sent_but_reported(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "large.jpg").write_bytes(bytes(settings.push.inline_limit + 1))
    (tmp_path / "cat" / "small.jpg").write_bytes(pictures.jpeg())
    unsent, sent = push_request.records(PushRequest(str(tmp_path), "b"), settings)
    assert isinstance(unsent, Unsent)
    assert unsent.why.startswith("cat/large.jpg: 10,485,761 bytes, at most 10,485,760")
    assert isinstance(sent, ProducerRecord)


def test_bad_source_is_an_error_before_anything_is_sent(settings: Settings) -> None:
    with pytest.raises(BadSource):
        push_request.records(PushRequest("no/such/folder", "b"), settings)


@pytest.mark.parametrize("batch", ["", "two\nlines", "x" * 200])
def test_batch_name_that_every_upload_would_be_rejected_for_is_refused(batch: str) -> None:
    with pytest.raises(UsageError, match="--batch"):
        PushRequest("digits", batch)


@pytest.mark.parametrize("source", ["digits", "a/b.tar.gz", "a/b/", ".", "/", "x\ny", "ü" * 200])
def test_default_batch_name_is_allowed(source: str) -> None:
    assert PushRequest(source, push_request.batch_name(source)).batch
