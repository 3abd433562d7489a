"""Topics with transactions: committed uploads are ingested and counted, and nothing waits for markers."""

import json
import time
from pathlib import Path

import pytest
from kafka import TopicPartition
from pyspark.sql import SparkSession

from conf.sections import Kafka, Lake
from conf.settings import Settings
from lake import tables
from lake.table import Table
from streaming import backlog, topics
from streaming.errors import RecordsLost
from streaming.ingestion import Ingestion, IngestReport
from tests.support.commands import Hub
from tests.support.uploads import open_transaction, send, upload

pytestmark = pytest.mark.services


@pytest.fixture
def own(settings: Settings, kafka: Kafka, tmp_path: Path) -> Settings:
    ingest = settings.ingest.model_copy(update={"index_dir": tmp_path / "index"})
    lake = Lake(root=str(tmp_path / "lake"))
    return settings.model_copy(update={"lake": lake, "kafka": kafka, "ingest": ingest})


def ingest_once(spark: SparkSession, own: Settings, accept_loss: bool = False) -> IngestReport:
    report = IngestReport()
    Ingestion(spark, own, own.kafka.bootstrap, accept_loss=accept_loss).once(report)
    return report


def labels_by_offset(spark: SparkSession, own: Settings) -> dict[int, str]:
    rows = tables.read(spark, own.lake, Table.UPLOADS).where("partition = 0").collect()
    return {row.offset: row.label for row in rows}


def counted(own: Settings) -> tuple[int, bool, int]:
    count = backlog.count_records(own.kafka, own.kafka.bootstrap)[0]
    return count.records, count.exact, count.undecided


def test_uploads_of_a_transaction_that_was_given_up_are_in_no_table_and_no_count(
    spark: SparkSession, own: Settings, hub: Hub
) -> None:
    send(own.kafka, [upload(0), upload(1)], partition=0)
    for number, label in ((2, "aborted"), (4, "committed")):
        with open_transaction(own.kafka, [upload(number, label), upload(number + 1, label)]) as producer:
            producer.abort_transaction() if label == "aborted" else producer.commit_transaction()
    assert counted(own) == (4, True, 0)  # in 8 offsets

    report = ingest_once(spark, own)

    assert labels_by_offset(spark, own) == {0: "cat", 1: "cat", 5: "committed", 6: "committed"}
    assert (report.records, report.accepted, report.batches) == (4, 4, 1)
    assert (report.lag_records, report.lag_seconds) == (0, 0.0)
    labels = {row.label: row.accepted for row in tables.read(spark, own.lake, Table.LABELS).collect()}
    assert labels == {"cat": 2, "committed": 2}
    names = {"BOOTSTRAP": own.kafka.bootstrap, "TOPIC": own.kafka.topic}
    names["REJECTED_TOPIC"] = own.kafka.rejected_topic
    names["VERDICTS_TOPIC"] = own.kafka.verdicts_topic
    shown = json.loads(hub("status", "--json", **{f"HUB__KAFKA__{k}": v for k, v in names.items()}).stdout)
    first = shown["topics"][0]
    assert (first["records"], first["exact"], first["undecided"]) == (4, True, 0)


def test_markers_alone_make_no_commit_and_no_wait(spark: SparkSession, own: Settings) -> None:
    send(own.kafka, [upload(0)], partition=0)
    ingest_once(spark, own)
    version = tables.version(spark, own.lake, Table.UPLOADS)
    with open_transaction(own.kafka, [upload(1, "aborted")]) as producer:
        producer.abort_transaction()
    before = time.monotonic()
    report = ingest_once(spark, own)
    assert time.monotonic() - before < 20  # Spark's Kafka source polls for 120 s at most
    assert (report.records, report.batches, report.lag_records) == (0, 0, 0)
    assert tables.version(spark, own.lake, Table.UPLOADS) == version
    send(own.kafka, [upload(2, "dog")], partition=0)
    assert ingest_once(spark, own).records == 1
    assert labels_by_offset(spark, own) == {0: "cat", 3: "dog"}


def test_an_open_transaction_is_not_waited_for_and_ingested_once_it_is_committed(
    spark: SparkSession, own: Settings
) -> None:
    send(own.kafka, [upload(0)], partition=0)
    with open_transaction(own.kafka, [upload(1, "late")]) as producer:
        send(own.kafka, [upload(2, "behind")], partition=0)
        assert counted(own) == (1, True, 2)
        first = ingest_once(spark, own)
        assert (first.records, first.lag_records) == (1, 0)
        producer.commit_transaction()
    assert counted(own) == (3, True, 0)
    assert ingest_once(spark, own).records == 2
    assert labels_by_offset(spark, own) == {0: "cat", 1: "late", 2: "behind"}


@pytest.mark.faults
def test_a_removed_range_of_markers_is_no_loss_with_a_checkpoint(spark: SparkSession, own: Settings) -> None:
    """Retention removes the end of the topic: a marker that no row has."""
    with open_transaction(own.kafka, [upload(0)]) as producer:
        producer.commit_transaction()
    ingest_once(spark, own)
    with topics.admin_client(own.kafka, own.kafka.bootstrap) as client:
        client.delete_records({TopicPartition(own.kafka.topic, 0): 2})
    send(own.kafka, [upload(1, "dog")], partition=0)
    assert ingest_once(spark, own).records == 1
    assert labels_by_offset(spark, own) == {0: "cat", 2: "dog"}


@pytest.mark.faults
def test_the_message_of_a_loss_counts_offsets(spark: SparkSession, own: Settings) -> None:
    send(own.kafka, [upload(0)], partition=0)
    ingest_once(spark, own)
    with open_transaction(own.kafka, [upload(1), upload(2)]) as producer:
        producer.commit_transaction()
    with topics.admin_client(own.kafka, own.kafka.bootstrap) as client:
        client.delete_records({TopicPartition(own.kafka.topic, 0): 4})
    with pytest.raises(RecordsLost, match=r"removed up to 3 record\(s\).*partition 0 offsets 1 to 3"):
        ingest_once(spark, own)
    report = ingest_once(spark, own, accept_loss=True)
    assert (report.records, report.lost) == (0, {0: (1, 3)})
