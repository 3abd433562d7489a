"""Uploads by reference, from the bucket to the tables; bad references of all kinds, and a failing store."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from conf.sections import Kafka, Lake
from conf.settings import Settings
from lake.table import Table
from streaming.contract.record import Upload
from tests.streaming.test_ingestion import assert_every_offset_once, ingest_once, table
from tests.support import pictures
from tests.support.archives import foldered
from tests.support.s3server import Bucket, FaultProxy
from tests.support.sent import producer_records
from tests.support.uploads import received, send, upload

pytestmark = pytest.mark.services


@pytest.fixture
def own(settings: Settings, kafka: Kafka, bucket: Bucket, tmp_path: Path) -> Settings:
    """Settings with a lake, an index, topics and a bucket that no other test has."""
    return settings.model_copy(
        update={
            "lake": Lake(root=str(tmp_path / "lake")),
            "ingest": settings.ingest.model_copy(
                update={"index_dir": tmp_path / "index", "max_bytes": 100_000}
            ),
            "kafka": kafka,
            "s3": bucket.s3,
            "payloads": settings.payloads.model_copy(
                update={"prefix": bucket.uri("in"), "allowed": (bucket.uri("in"),), "inline_limit": 2000,
                        "seconds": 3.0}
            ),
        }
    )  # fmt: skip


def by_reference(number: int, dataref: str, content: bytes | None = None, **changed: object) -> Upload:
    claimed = hashlib.sha256(content).hexdigest() if content is not None else None
    return replace(upload(number), content=None, dataref=dataref, sha256=claimed, **changed)  # type: ignore[arg-type]


def half_by_reference(bucket: Bucket, count: int) -> Iterator[Upload]:
    """Valid uploads; every other one by reference, the others inline."""
    for number in range(count):
        content = pictures.jpeg(seed=number)
        if number % 2:
            yield replace(upload(number), content=content)
        else:
            bucket.put({f"in/{number}": content})
            yield by_reference(number, bucket.uri(f"in/{number}"), content)


def assert_accepted_or_rejected(spark: SparkSession, own: Settings, sent: list[Upload]) -> None:
    """Each offset exactly once, and the dead letters are the rejected uploads, unchanged."""
    uploads = table(spark, own, Table.UPLOADS)
    assert_every_offset_once(uploads, len(sent))
    rejected = {row.upload_id for row in uploads.where("verdict = 'rejected'").collect()}
    letters = {
        (dict(letter.headers)["ce_id"] or b"").decode(): letter
        for letter in received(own.kafka, own.kafka.rejected_topic)
    }
    assert set(letters) == rejected
    by_id = {each.id: each for each in sent}
    for name, letter in letters.items():
        assert letter.value == by_id[name].content
        assert letter.headers[: len(by_id[name].headers())] == by_id[name].headers()


def test_uploads_pushed_by_reference_are_ingested_like_inline_ones(
    spark: SparkSession, own: Settings, bucket: Bucket, tmp_path: Path
) -> None:
    contents = {f"cat/{n}.jpg": pictures.jpeg(400, 300, seed=n, quality=98) for n in range(12)}
    contents |= {f"dog/{n}.jpg": pictures.jpeg(40, 40, seed=n, quality=30) for n in range(4)}
    from streaming.upload.push_request import PushRequest

    order = PushRequest(str(foldered(tmp_path / "source", contents)), "b")
    records = producer_records(order, own)
    assert order.referenced["uploads"] == len(bucket.keys()) == 12
    send(own.kafka, [(record.key, record.value, record.headers) for record in records])

    report = ingest_once(spark, own)

    assert (report.accepted, report.rejected) == (16, {})
    stored = {row.image_id: row.bytes for row in table(spark, own, Table.UPLOADS).collect()}
    assert stored == {hashlib.sha256(each).hexdigest(): len(each) for each in contents.values()}


def test_every_bad_reference_gets_its_verdict_and_its_dead_letter(
    spark: SparkSession, own: Settings, bucket: Bucket
) -> None:
    content, other = pictures.jpeg(seed=1), pictures.jpeg(seed=2)
    bucket.put({"in/good": content, "in/cut": content[:-100], "in/large": bytes(100_001), "in/empty": b"",
                "in/rubbish": b"rubbish", "out/good": content})  # fmt: skip
    good = by_reference(0, bucket.uri("in/good"), content)
    bad = {
        "checksum_mismatch": [
            by_reference(1, bucket.uri("in/cut"), content),
            by_reference(2, bucket.uri("in/good"), other),
        ],
        "payload_unreachable": [
            by_reference(3, bucket.uri("in/none"), content),
            by_reference(4, bucket.uri("out/good"), content),
            by_reference(5, bucket.uri("in/../out/good"), content),
            by_reference(6, "http://169.254.169.254/latest/meta-data", content),
            by_reference(7, "file:///etc/passwd"),
        ],
        "too_large": [by_reference(8, bucket.uri("in/large"), bytes(100_001))],
        "empty": [by_reference(9, bucket.uri("in/empty")), replace(upload(10), content=None)],
        "unsupported_format": [by_reference(11, bucket.uri("in/rubbish"))],
        "bad_header": [replace(good, id="both", content=content)],
        "duplicate_upload": [good],
    }
    send(own.kafka, [good], partition=0)
    send(own.kafka, [each for kind in bad.values() for each in kind], partition=0)

    report = ingest_once(spark, own)

    assert report.rejected == {reason: len(kind) for reason, kind in bad.items()}
    assert report.accepted == 1
    uploads = table(spark, own, Table.UPLOADS)
    assert_every_offset_once(uploads, report.records)
    sizes = {row.upload_id: row.bytes for row in uploads.where("offset > 0").collect()}
    assert sizes[bad["checksum_mismatch"][0].id] == len(content) - 100
    letters = received(own.kafka, own.kafka.rejected_topic)
    assert len(letters) == report.records - 1
    # The dead letter of a duplicate has its original value, which is null for an upload by reference.
    (duplicate,) = [each for each in letters if dict(each.headers)["hub_reason"] == b"duplicate_upload"]
    assert duplicate.value is None
    assert duplicate.headers[: len(good.headers())] == good.headers()
    assert {each.value for each in letters} == {None, content}


def test_temporary_503_answers_of_the_store_lose_no_upload(
    spark: SparkSession, own: Settings, bucket: Bucket
) -> None:
    sent = list(half_by_reference(bucket, 20))
    refused: set[str] = set()

    def twice(method: str, path: str) -> int | None:
        turn = next(f"{path} {n}" for n in range(9) if f"{path} {n}" not in refused)
        refused.add(turn)
        return None if turn.endswith(" 2") else 503

    proxy = FaultProxy(bucket.s3.endpoint, twice)
    with proxy.running() as endpoint:
        send(own.kafka, sent)
        away = own.model_copy(update={"s3": own.s3.model_copy(update={"endpoint": endpoint})})
        assert ingest_once(spark, away).accepted == 20
    assert len(proxy.seen) == 30
    assert_accepted_or_rejected(spark, own, sent)


@pytest.mark.faults  # slow
@pytest.mark.parametrize("spoil", [503, "stall"])
def test_uploads_of_a_permanently_failing_store_are_rejected_and_can_be_replayed(
    spoil: int | str, spark: SparkSession, own: Settings, bucket: Bucket
) -> None:
    sent = list(half_by_reference(bucket, 24))
    with FaultProxy(bucket.s3.endpoint, lambda method, path: spoil).running() as endpoint:
        away = own.model_copy(update={"s3": own.s3.model_copy(update={"endpoint": endpoint})})
        send(own.kafka, sent)
        report = ingest_once(spark, away)
    assert (report.accepted, report.rejected) == (12, {"payload_unreachable": 12})
    assert_accepted_or_rejected(spark, own, sent)
    detail = table(spark, own, Table.UPLOADS).where("verdict = 'rejected'").select("detail").head()
    assert detail is not None
    assert bucket.name in detail[0]

    # Like a replay: the dead letters are sent to the topic again, without the headers that the hub added.
    letters = received(own.kafka, own.kafka.rejected_topic)
    raw = [(e.key, e.value, [h for h in e.headers if not h[0].startswith("hub_")]) for e in letters]
    send(own.kafka, raw)
    assert ingest_once(spark, own).accepted == 12
    images = table(spark, own, Table.UPLOADS).where("verdict = 'accepted'").select("image_id").distinct()
    assert images.count() == 24
