"""Verdicts: each upload's verdict reaches the topic of verdicts, without pixels, by the contract."""

import json
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from conf.sections import Kafka, Lake
from conf.settings import Settings
from streaming.contract.verdict import Verdict
from streaming.contract.verdict_record import FIELDS, TYPE, VerdictRecord
from streaming.follow.verdicts import verdict_records
from streaming.ingestion import Ingestion, IngestReport
from tests.support import pictures
from tests.support.uploads import received, send, upload

pytestmark = pytest.mark.services


def test_each_upload_has_a_verdict_with_its_ids_and_no_pixels(
    spark: SparkSession, settings: Settings, kafka: Kafka, tmp_path: Path
) -> None:
    ingest = settings.ingest.model_copy(update={"index_dir": tmp_path / "index"})
    changed = {"lake": Lake(root=str(tmp_path / "lake")), "kafka": kafka, "ingest": ingest}
    own = settings.model_copy(update=changed)
    good = upload(1, label="Crème brûlée")
    cut = upload(2, content=pictures.jpeg(seed=2)[:200], user=None)
    send(kafka, [good, cut, (b"phone-9", b"no picture", [("ce_id", b"nameless")])], partition=0)
    send(kafka, [good], partition=1)

    Ingestion(spark, own, kafka.bootstrap).once(IngestReport())

    records = received(kafka, kafka.verdicts_topic)
    assert len(records) == 4
    assert max(len(record.value) for record in records) < 1000
    parsed = [VerdictRecord.parse(record.value) for record in records]
    verdicts = {(found.partition, found.offset): found for found in parsed}
    accepted, rejected, nameless = (verdicts[0, offset] for offset in range(3))
    assert (accepted.upload_id, accepted.device, accepted.user, accepted.batch) == (
        good.id, good.device, good.user, "tests",
    )  # fmt: skip
    assert (accepted.verdict, accepted.reason, accepted.label) == (Verdict.ACCEPTED, None, "creme_brulee")
    assert (accepted.label_name, accepted.event_time) == ("Crème brûlée", good.time)
    assert accepted.image_id is not None
    assert accepted.ingest_time is not None
    assert (rejected.verdict, rejected.reason, rejected.user) == (Verdict.REJECTED, "truncated", None)
    assert rejected.detail
    assert (nameless.reason, nameless.device) == ("missing_header", "phone-9")
    assert verdicts[1, 0].reason == "duplicate_upload"
    for record in records:
        found = VerdictRecord.parse(record.value)
        headers = dict(record.headers)
        assert record.key == (found.device or "").encode()
        assert headers["ce_type"] == TYPE.encode()
        assert headers["ce_id"] == f"{kafka.topic}/{found.partition}/{found.offset}".encode()
        assert set(json.loads(record.value)) == set(FIELDS)


def test_a_row_with_nothing_but_its_offset_becomes_a_record(spark: SparkSession) -> None:
    schema = (
        "topic string, partition int, offset long, upload_id string, device string, user string, "
        "batch string, label string, label_name string, verdict string, reason string, "
        "detail string, flags array<string>, image_id string, event_time timestamp, "
        "kafka_time timestamp, ingest_time timestamp"
    )
    values = dict.fromkeys(FIELDS) | {"topic": "images", "partition": 0, "offset": 7, "verdict": "accepted"}
    (record,) = verdict_records(spark.createDataFrame([values], schema)).collect()
    assert record.key is None
    parsed = VerdictRecord.parse(bytes(record.value))
    assert (parsed.offset, parsed.upload_id, parsed.flags) == (7, None, ())


@pytest.mark.parametrize("value", [b"", b"[]", b"{}", b"\xff", b'{"verdict": "perhaps"}'])
def test_a_broken_record_is_refused_with_one_line(value: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        VerdictRecord.parse(value)
