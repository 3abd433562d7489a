"""Dead letters: the rejected records unchanged, or without the parts that would exceed the size limit."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from conf.sections import Kafka, Lake
from conf.settings import Settings
from streaming import rejects
from streaming.errors import IngestFailed
from streaming.follow.dead_letters import dead_letter_records
from streaming.ingestion import Ingestion, IngestReport
from streaming.ledger.upload_index import Position
from streaming.topics import RECORD_BYTES
from tests.support.uploads import received, send, upload

pytestmark = pytest.mark.services

_SCHEMA = (
    "reason string, detail string, topic string, partition int, offset long, device string, "
    "payload binary, headers array<struct<key: string, value: binary>>"
)


def test_a_record_of_the_maximum_size_has_a_dead_letter_without_its_value(
    spark: SparkSession, settings: Settings, kafka: Kafka, tmp_path: Path
) -> None:
    ingest = settings.ingest.model_copy(update={"index_dir": tmp_path / "index"})
    changed = {"lake": Lake(root=str(tmp_path / "lake")), "kafka": kafka, "ingest": ingest}
    own = settings.model_copy(update=changed)
    framing = 100  # of batch and record, so that the maximum is a few bytes away
    value = bytes(RECORD_BYTES - framing)
    broken = upload(1, content=b"")
    send(kafka, [(None, value, []), broken], partition=0)
    report = IngestReport()

    Ingestion(spark, own, kafka.bootstrap).once(report)

    assert report.rejected == {"missing_header": 1, "empty": 1}
    letters = {dict(letter.headers)["hub_reason"]: letter for letter in received(kafka, kafka.rejected_topic)}
    assert set(letters) == {b"missing_header", b"empty"}
    large = dict(letters[b"missing_header"].headers)
    assert (letters[b"missing_header"].value, large["hub_left_out"]) == (None, b"value")
    assert (large["hub_topic"], large["hub_offset"]) == (kafka.topic.encode(), b"0")
    assert "hub_left_out" not in dict(letters[b"empty"].headers)
    assert letters[b"empty"].headers[: len(broken.headers())] == broken.headers()
    assert rejects.original_bytes(spark, own.lake, Position(kafka.topic, 0, 0)) == value


def test_a_missing_topic_is_named_in_one_line(
    spark: SparkSession, settings: Settings, kafka: Kafka, tmp_path: Path
) -> None:
    ingest = settings.ingest.model_copy(update={"index_dir": tmp_path / "index"})
    nowhere = kafka.model_copy(update={"rejected_topic": f"{kafka.topic}.nowhere"})
    changed = {"lake": Lake(root=str(tmp_path / "lake")), "kafka": nowhere, "ingest": ingest}
    own = settings.model_copy(update=changed)
    send(kafka, [upload(1, content=b"")])
    with pytest.raises(IngestFailed) as told:
        Ingestion(spark, own, kafka.bootstrap).once(IngestReport())
    assert str(told.value) == (
        f"the ledger is complete, but dead-letters: no topic '{kafka.topic}.nowhere' at {kafka.bootstrap}: "
        "run `hub up`, which creates it; the next ingestion retries it"
    )


@pytest.mark.parametrize(
    ("value", "header", "left_out"),
    [
        (RECORD_BYTES - 1000, 200, b""),
        (RECORD_BYTES - 1000, 900, b"value"),
        (100, RECORD_BYTES - 1000, b""),
        (1000, RECORD_BYTES - 1000, b"value"),
        (100, RECORD_BYTES, b"value, headers"),
        (None, RECORD_BYTES - 1000, b""),
        (None, RECORD_BYTES, b"value, headers"),
    ],
)
def test_parts_that_fit_are_sent(
    spark: SparkSession, value: int | None, header: int, left_out: bytes
) -> None:
    headers = [("ce_id", b"x" * header), ("without", None)]
    payload = None if value is None else bytes(value)
    row = ("too_large", "why", "images", 3, 2**40, "phone", payload, headers)
    frame = dead_letter_records(spark.createDataFrame([row], _SCHEMA))
    (letter,) = frame.collect()
    sent = {each.key: None if each.value is None else bytes(each.value) for each in letter.headers}
    assert sent.get("hub_left_out", b"") == left_out
    assert letter.value == (None if b"value" in left_out else payload)
    assert ("ce_id" in sent) == (b"headers" not in left_out)
    assert (sent["hub_reason"], sent["hub_offset"]) == (b"too_large", str(2**40).encode())
    size = sum(len(key) + len(content or b"") for key, content in sent.items())
    assert size + len(letter.value or b"") + len(letter.key) < RECORD_BYTES
