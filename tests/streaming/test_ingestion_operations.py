"""Operating an ingestion: one at a time, checkpoints, lost records, topics created again, and metrics."""

import json
import os
import re
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka import KafkaProducer, TopicPartition
from pyspark.sql import SparkSession

from conf.sections import Kafka, Lake
from conf.settings import Settings
from lake import tables
from lake.table import Table
from streaming import topics
from streaming.errors import (
    DamagedCheckpoint,
    LakeInUse,
    MetricsUnavailable,
    RecordsLost,
    UnreadableRecord,
)
from streaming.follow import ledger_stream
from streaming.ingestion import Ingestion, IngestReport
from streaming.ledger import lake_lease
from streaming.watch import metrics
from tests.support.commands import Hub, hub_command
from tests.support.uploads import received, send, upload
from tests.support.waiting import wait_until

pytestmark = pytest.mark.services


@pytest.fixture
def own(settings: Settings, kafka: Kafka, tmp_path: Path) -> Settings:
    """Settings with a lake, an index, logs and topics that no other test has."""
    ingest = settings.ingest.model_copy(update={"index_dir": tmp_path / "index"})
    logs = settings.logs.model_copy(update={"dir": tmp_path / "logs"})
    lake = Lake(root=str(tmp_path / "lake"))
    return settings.model_copy(update={"lake": lake, "kafka": kafka, "ingest": ingest, "logs": logs})


def ingest_once(spark: SparkSession, own: Settings, accept_loss: bool = False) -> IngestReport:
    report = IngestReport()
    Ingestion(spark, own, own.kafka.bootstrap, accept_loss=accept_loss).once(report)
    return report


def checkpoint(own: Settings, query: str = "") -> Path:
    return Path(own.lake.at("checkpoints", query or f"ingest-{own.kafka.topic}"))


def environment(own: Settings) -> dict[str, str]:
    return {
        "HUB__LAKE__ROOT": own.lake.root,
        "HUB__INGEST__INDEX_DIR": str(own.ingest.index_dir),
        "HUB__KAFKA__BOOTSTRAP": own.kafka.bootstrap,
        "HUB__KAFKA__TOPIC": own.kafka.topic,
        "HUB__KAFKA__REJECTED_TOPIC": own.kafka.rejected_topic,
        "HUB__KAFKA__VERDICTS_TOPIC": own.kafka.verdicts_topic,
    }


def test_a_lock_names_its_holder_and_is_released(own: Settings) -> None:
    with lake_lease.held(own, "erase"):
        with pytest.raises(LakeInUse, match=rf"`hub erase` on .*, pid {os.getpid()}, since 20.*kill -INT"):
            lake_lease.refuse_if_held(own)
        with pytest.raises(LakeInUse), lake_lease.held(own, "ingest"):
            pass
    with lake_lease.held(own, "ingest"):
        pass


@pytest.mark.faults
def test_a_second_ingest_refuses_and_a_killed_one_leaves_no_lock(own: Settings, hub: Hub) -> None:
    holder = subprocess.Popen(
        hub_command("ingest"),
        env=os.environ | environment(own),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    )
    try:
        assert wait_until(lambda: _is_locked(own), 120)
        second = hub("ingest", "--once", **environment(own))
        assert (second.status, second.stdout, second.stderr.count("\n")) == (1, "", 1)
        assert f"pid {holder.pid}, since" in second.stderr
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.wait(30)
    assert not _is_locked(own)


def _is_locked(own: Settings) -> bool:
    try:
        lake_lease.refuse_if_held(own)
    except LakeInUse:
        return True
    return False


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


def _garble(file: Path) -> None:
    file.write_bytes(b"\x80\xff" * 40)


def _empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize(
    ("name", "break_it", "message"),
    [
        ("offsets/1", _cut, "offsets/1"),
        ("offsets/1", _garble, "offsets/1"),
        ("offsets/1", Path.unlink, "offsets/1 is missing"),
        ("commits/1", _empty, "commits/1"),
        ("metadata", _garble, "metadata"),
        ("metadata", Path.unlink, "metadata is missing"),
    ],
)
def test_a_damaged_checkpoint_stops_ingestion_and_says_what_to_do(
    spark: SparkSession, two_batches: Settings, name: str, break_it: Callable[[Path], object], message: str
) -> None:
    own, file = two_batches, checkpoint(two_batches) / name
    before, sidecar = file.read_bytes(), file.with_name(f".{file.name}.crc")
    checksum = sidecar.read_bytes()
    break_it(file)
    sidecar.unlink()
    try:
        with pytest.raises(DamagedCheckpoint, match="Move that folder away") as caught:
            ingest_once(spark, own)
        assert message in str(caught.value)
        assert str(checkpoint(own)) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert tables.read(spark, own.lake, Table.UPLOADS).count() == 8
    finally:
        file.write_bytes(before)
        sidecar.write_bytes(checksum)


@pytest.fixture(scope="module")
def two_batches(
    spark: SparkSession, settings: Settings, broker: str, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """A lake that has ingested eight records in two batches."""
    folder = tmp_path_factory.mktemp("damaged")
    names = {"bootstrap": broker, "topic": "images-damaged", "rejected_topic": "images-damaged.rejected"}
    names["verdicts_topic"] = "images-damaged.verdicts"
    kafka = settings.kafka.model_copy(update=names)
    topics.create(kafka, broker)
    ingest = settings.ingest.model_copy(update={"index_dir": folder / "index"})
    lake = Lake(root=str(folder / "lake"))
    own = settings.model_copy(update={"lake": lake, "kafka": kafka, "ingest": ingest})
    for part in (range(4), range(4, 8)):
        send(kafka, [upload(number) for number in part])
        ingest_once(spark, own)
    return own


def test_followers_whose_checkpoint_was_moved_away_count_again(
    spark: SparkSession, two_batches: Settings
) -> None:
    own = two_batches
    (checkpoint(own, "samples") / "metadata").write_text("{")
    with pytest.raises(DamagedCheckpoint, match="labels are counted again"):
        ingest_once(spark, own)
    checkpoint(own, "samples").rename(checkpoint(own, "moved-away"))
    assert ingest_once(spark, own).records == 0
    assert [row.accepted for row in tables.read(spark, own.lake, Table.LABELS).collect()] == [8]
    assert tables.read(spark, own.lake, Table.SAMPLES).count() == 8


@pytest.mark.faults
def test_a_record_whose_time_spark_cannot_read_is_reported_with_the_way_out(
    spark: SparkSession, own: Settings, topic: str
) -> None:
    """In a topic that the hub did not create; the hub's topics ignore the producer's timestamp."""
    foreign = own.model_copy(update={"kafka": own.kafka.model_copy(update={"topic": f"{topic}-foreign"})})
    with topics.admin_client(own.kafka, own.kafka.bootstrap) as client:
        client.create_topics({foreign.kafka.topic: {"num_partitions": 1, "replication_factor": 1}})
        client.wait_for_topics([foreign.kafka.topic])
    send(foreign.kafka, [upload(0)])
    ingest_once(spark, foreign)
    producer = KafkaProducer(**topics.client_options(own.kafka, own.kafka.bootstrap))
    producer.send(foreign.kafka.topic, value=b"poison", timestamp_ms=-(10**16)).get(30)
    producer.close()
    where = rf"record {foreign.kafka.topic}/0/1 .*\(-1{'0' * 16} ms\)"
    with pytest.raises(UnreadableRecord, match=where) as told:
        ingest_once(spark, foreign)
    assert "up to offset 2, continue with `hub ingest --accept-loss`" in str(told.value)

    topics.enforce_settings(foreign.kafka, own.kafka.bootstrap)
    with topics.admin_client(own.kafka, own.kafka.bootstrap) as client:
        client.delete_records({TopicPartition(foreign.kafka.topic, 0): 2})
    send(foreign.kafka, [upload(2)])
    report = ingest_once(spark, foreign, accept_loss=True)

    assert (report.accepted, report.lost) == (1, {0: (1, 1)})
    assert tables.read(spark, own.lake, Table.UPLOADS).count() == 2


@pytest.mark.parametrize(
    "cleaned_up",
    [False, pytest.param(True, marks=pytest.mark.faults)],
    ids=["version exists", "version cleaned up"],
)
def test_followers_restart_at_an_old_version_that_delta_no_longer_reads(
    spark: SparkSession, own: Settings, cleaned_up: bool
) -> None:
    """Delta refuses to read a version after a week, and deletes it from its log after a month."""
    send(own.kafka, [upload(0), upload(1, label="dog")], partition=0)
    ingest_once(spark, own)
    ledger = f"delta.`{own.lake.at(Table.UPLOADS)}`"
    # As if a week had passed.
    spark.sql(f"ALTER TABLE {ledger} SET TBLPROPERTIES ('delta.deletedFileRetentionDuration' = '0 seconds')")
    version = tables.version(spark, own.lake, Table.UPLOADS)
    ledger_stream.restart_at(spark, own, version)
    spark.sql(f"ALTER TABLE {ledger} SET TBLPROPERTIES ('one' = 'more')")
    if cleaned_up:
        tables.delta_log(spark, own.lake, Table.UPLOADS).checkpoint()
        for number in range(version + 1):
            for file in Path(own.lake.at(Table.UPLOADS, "_delta_log")).glob(f"*{number:020}.*"):
                file.unlink()
        spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()  # type: ignore[union-attr]
    send(own.kafka, [upload(2), upload(3, content=b"")], partition=1)

    assert ingest_once(spark, own).records == 2

    counted = {row.label: row.accepted for row in tables.read(spark, own.lake, Table.LABELS).collect()}
    assert counted == {"cat": 2, "dog": 1}
    assert tables.read(spark, own.lake, Table.SAMPLES).count() == 3
    assert [letter.value for letter in received(own.kafka, own.kafka.rejected_topic)] == [b""]


def test_records_that_retention_deleted_stop_ingestion_until_the_loss_is_accepted(
    spark: SparkSession, own: Settings
) -> None:
    send(own.kafka, [upload(number) for number in range(3)], partition=0)
    send(own.kafka, [upload(number) for number in range(2)], partition=1)
    ingest_once(spark, own)
    send(own.kafka, [upload(number) for number in range(10, 20)], partition=0)
    with topics.admin_client(own.kafka, own.kafka.bootstrap) as client:
        client.delete_records({TopicPartition(own.kafka.topic, 0): 7})

    with pytest.raises(RecordsLost) as caught:
        ingest_once(spark, own)

    told = str(caught.value)
    assert "removed up to 4 record(s)" in told
    assert "partition 0 offsets 3 to 6" in told
    assert "--accept-loss" in told
    assert "\n" not in told
    assert tables.read(spark, own.lake, Table.UPLOADS).count() == 5

    report = ingest_once(spark, own, accept_loss=True)

    assert (report.records, report.lost) == (6, {0: (3, 6)})
    offsets = [
        row.offset for row in tables.read(spark, own.lake, Table.UPLOADS).where("partition = 0").collect()
    ]
    assert sorted(offsets) == [0, 1, 2, 7, 8, 9, 10, 11, 12]
    assert ingest_once(spark, own).records == 0


@pytest.mark.parametrize("records", [1, 9])
def test_a_topic_that_was_created_again_is_refused(spark: SparkSession, own: Settings, records: int) -> None:
    send(own.kafka, [upload(number) for number in range(5)], partition=0)
    ingest_once(spark, own)
    with topics.admin_client(own.kafka, own.kafka.bootstrap) as client:
        client.delete_topics([own.kafka.topic])
    assert wait_until(lambda: not topics.partitions(own.kafka, own.kafka.bootstrap, own.kafka.topic))
    topics.create(own.kafka, own.kafka.bootstrap)
    send(own.kafka, [upload(20 + number) for number in range(records)], partition=0)
    with pytest.raises(RecordsLost, match=r"is not the one that this lake has ingested.*HUB__KAFKA__TOPIC"):
        ingest_once(spark, own, accept_loss=True)
    assert tables.read(spark, own.lake, Table.UPLOADS).count() == 5


def test_metrics_and_progress_log_match_the_ingestion(spark: SparkSession, own: Settings) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    served = own.model_copy(update={"metrics": own.metrics.model_copy(update={"port": port})})
    seen: list[str] = []
    report = IngestReport()

    def look(_: object) -> None:
        seen.append(urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode())

    send(own.kafka, [upload(1), upload(2), upload(3, content=b"")])
    Ingestion(spark, served, own.kafka.bootstrap, look).once(report)

    assert "hub_ingest_records_total 3.0\n" in seen[0]
    assert "hub_ingest_accepted_total 2.0\n" in seen[0]
    assert 'hub_ingest_rejected_total{reason="empty"} 1.0\n' in seen[0]
    assert re.search(r"^# HELP hub_ingest_lag_seconds ", seen[0], re.MULTILINE)
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10)
    assert (report.lag_records, report.lag_seconds) == (0, 0.0)
    lines = [json.loads(line) for line in (own.logs.dir / "progress.jsonl").read_text().splitlines()]
    done = [line for line in lines if line["event"] == "progress" and line["numInputRows"]]
    assert {line["name"] for line in done} == {
        f"ingest-{own.kafka.topic}",
        "samples",
        "dead-letters",
        "verdicts",
    }
    assert sum(line["event"] == "terminated" for line in lines) == 4


def test_a_port_that_is_in_use_is_a_one_line_error(own: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        chosen = own.metrics.model_copy(update={"port": port})
        with (
            pytest.raises(MetricsUnavailable, match=rf"127\.0\.0\.1:{port}.*HUB__METRICS__PORT"),
            metrics.served(chosen),
        ):
            pass
