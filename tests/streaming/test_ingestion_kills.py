"""Processes killed at the worst moments, Kafka going away: nothing is lost, nothing is there twice."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from pyspark.sql import SparkSession

from conf.sections import Kafka, Lake
from conf.settings import Settings
from lake.schemas import Table
from local import broker as local_broker
from streaming import topics
from streaming.contract.record import Upload
from streaming.ingestion import Ingestion, IngestReport
from tests.support.accounts import assert_all_accounted_for
from tests.support.commands import ROOT, hub_command
from tests.support.uploads import send, upload
from tests.support.waiting import comes_true

pytestmark = [pytest.mark.services, pytest.mark.faults]

RECORDS = 240
BATCH = 40


@pytest.fixture
def own(settings: Settings, kafka: Kafka, tmp_path: Path) -> Settings:
    """Settings with a lake, an index and topics that no other test has, and small batches."""
    ingest = settings.ingest.model_copy(update={"index_dir": tmp_path / "index", "batch_records": BATCH})
    lake = Lake(root=str(tmp_path / "lake"))
    return settings.model_copy(update={"lake": lake, "kafka": kafka, "ingest": ingest})


@pytest.fixture
def sent(own: Settings) -> list[Upload]:
    """Uploads in the topic: sound ones, one in ten broken, and one in forty sent twice."""
    uploads = mixed(RECORDS)
    send(own.kafka, uploads)
    return uploads


def mixed(count: int, first: int = 0) -> list[Upload]:
    uploads: list[Upload] = []
    for number in range(first, first + count):
        if number % 40 == 39:
            uploads.append(uploads[-2])
        elif number % 10 == 5:
            uploads.append(upload(number, content=b"GIF89a, no picture that is taken"))
        else:
            uploads.append(upload(number, label=("cat", "dog")[number % 2]))
    return uploads


def ingested(spark: SparkSession, own: Settings) -> IngestReport:
    report = IngestReport()
    Ingestion(spark, own, own.kafka.bootstrap).once(report)
    return report


@contextmanager
def driver(own: Settings, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """`hub ingest` in a process group of its own, which is gone after the block."""
    variables = {
        "HUB__LAKE__ROOT": own.lake.root,
        "HUB__INGEST__INDEX_DIR": str(own.ingest.index_dir),
        "HUB__INGEST__BATCH_RECORDS": str(own.ingest.batch_records),
        "HUB__INGEST__TRIGGER_SECONDS": "0.2",
        "HUB__KAFKA__BOOTSTRAP": own.kafka.bootstrap,
        "HUB__KAFKA__TOPIC": own.kafka.topic,
        "HUB__KAFKA__REJECTED_TOPIC": own.kafka.rejected_topic,
        "PYTHONPATH": str(ROOT),
    }
    process = subprocess.Popen(
        hub_command("ingest", *arguments),
        env=os.environ | variables | environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)


def killed_when(own: Settings, holds: Callable[[], bool]) -> None:
    """Run an ingestion and kill it, JVM and all, at the very moment that something holds."""
    with driver(own, "--once") as process:
        deadline = time.monotonic() + 150
        while not holds():
            assert process.poll() is None, process.communicate()[1].decode()
            assert time.monotonic() < deadline
        kill(process)


def log_of(own: Settings) -> set[int]:
    """Versions of the ledger."""
    folder = Path(own.lake.at(Table.UPLOADS, "_delta_log"))
    return {int(path.stem) for path in folder.glob("*.json") if path.stem.isdigit()}


def files_of(own: Settings) -> int:
    return sum(1 for _ in Path(own.lake.at(Table.UPLOADS)).glob("*.parquet"))


def batches(own: Settings, kind: str) -> set[int]:
    """Ids of the batches that the checkpoint has offsets or commits of."""
    folder = Path(own.lake.at("checkpoints", f"ingest-{own.kafka.topic}", kind))
    return {int(path.name) for path in folder.glob("*") if path.name.isdigit()}


def test_killed_before_the_write(spark: SparkSession, own: Settings, sent: list[Upload]) -> None:
    killed_when(own, lambda: 2 in batches(own, "offsets"))
    assert 3 not in log_of(own)  # version 0 made the table
    assert 0 < ingested(spark, own).records < RECORDS
    assert_all_accounted_for(spark, own, sent)


def test_killed_after_the_files_but_before_the_commit(
    spark: SparkSession, own: Settings, sent: list[Upload]
) -> None:
    """The files of the killed attempt stay where they are, and belong to no version."""
    before: dict[int, int] = {}

    def files_without_a_commit() -> bool:
        versions = max(log_of(own), default=-1)
        if versions < 2:
            return False
        files = files_of(own)
        before.setdefault(versions, files)
        return files > before[versions] and max(log_of(own)) == versions

    killed_when(own, files_without_a_commit)
    versions = max(log_of(own))
    on_disk = files_of(own)
    assert 0 < ingested(spark, own).records < RECORDS
    assert_all_accounted_for(spark, own, sent)
    used = spark.read.format("delta").load(own.lake.at(Table.UPLOADS)).inputFiles()
    assert len(used) < files_of(own)
    assert on_disk > before[versions]


def test_killed_after_the_commit_but_before_the_checkpoint(
    spark: SparkSession, own: Settings, sent: list[Upload]
) -> None:
    killed_when(own, lambda: 3 in log_of(own))
    committed = max(log_of(own))
    assert committed - 1 not in batches(own, "commits"), "the checkpoint was faster"
    assert ingested(spark, own).records < RECORDS
    assert_all_accounted_for(spark, own, sent)


def test_a_killed_python_worker_costs_a_retry(spark: SparkSession, own: Settings, sent: list[Upload]) -> None:
    """It is killed while its decoder is at a picture."""
    with driver(own, "--once", HUB__DECODING__FUNCTION="tests.support.slow:prepare") as process:
        assert comes_true(lambda: 1 in log_of(own), 150)
        workers: list[int] = []

        def at_work() -> bool:
            workers[:] = parents_of("streaming.isolate.sandbox", process.pid)
            return bool(workers)

        assert comes_true(at_work, 60)
        os.kill(workers[0], signal.SIGKILL)
        assert process.wait(150) == 0, process.communicate()[1].decode()
    assert_all_accounted_for(spark, own, sent)


def test_a_killed_executor_costs_a_retry(spark: SparkSession, own: Settings, sent: list[Upload]) -> None:
    slow = {
        "HUB__DECODING__FUNCTION": "tests.support.slow:prepare",
        "HUB__SPARK__MASTER": "local-cluster[2,1,1024]",
    }
    with driver(own, "--once", **slow) as process:
        assert comes_true(lambda: 1 in log_of(own), 200)
        executors = processes_of("CoarseGrainedExecutorBackend", process.pid)
        assert len(executors) == 2
        os.kill(executors[0], signal.SIGKILL)
        assert process.wait(200) == 0, process.communicate()[1].decode()
    assert_all_accounted_for(spark, own, sent)


def test_a_topic_that_gains_partitions_is_read_from_their_beginning(
    spark: SparkSession, own: Settings, sent: list[Upload]
) -> None:
    ingested(spark, own)
    admin = KafkaAdminClient(**topics.connection(own.kafka, own.kafka.bootstrap))
    try:
        admin.create_partitions({own.kafka.topic: own.kafka.partitions + 2})
    finally:
        admin.close()
    assert comes_true(
        lambda: (
            len(topics.partitions(own.kafka, own.kafka.bootstrap, own.kafka.topic))
            == own.kafka.partitions + 2
        )
    )
    more = mixed(60, first=RECORDS)
    send(own.kafka, more[:30], partition=own.kafka.partitions)
    send(own.kafka, more[30:], partition=own.kafka.partitions + 1)
    assert ingested(spark, own).records == 60
    assert_all_accounted_for(spark, own, [*sent, *more])


def test_dead_letters_wait_for_their_topic_and_the_ledger_does_not(
    spark: SparkSession, own: Settings, tmp_path: Path
) -> None:
    """Continuous: the topic is away from the start, and made while the ingestion runs."""
    name = f"{own.kafka.rejected_topic}.later"
    own = own.model_copy(update={"kafka": own.kafka.model_copy(update={"rejected_topic": name})})
    uploads = mixed(80)
    send(own.kafka, uploads[:40])
    with driver(own) as process:
        assert comes_true(lambda: 1 in log_of(own), 150)
        send(own.kafka, uploads[40:])
        assert comes_true(lambda: max(log_of(own)) >= 2, 60)
        # Its producer waits a minute for the topic before the query fails and is started again.
        assert process.poll() is None
        topics.create(own.kafka, own.kafka.bootstrap)
        due = sum(record.content == uploads[5].content for record in uploads) + 2
        assert comes_true(lambda: end_of(own.kafka, name) >= due, 200)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    ingested(spark, own)
    assert_all_accounted_for(spark, own, uploads)


def test_a_broker_that_is_away_for_half_a_minute_is_waited_for(
    spark: SparkSession, settings: Settings, own: Settings, tmp_path: Path
) -> None:
    folder = settings.broker.model_copy(update={"dir": tmp_path / "broker"})
    apart = own.model_copy(update={"broker": folder, "kafka": own.kafka.model_copy(update={"bootstrap": ""})})
    uploads = mixed(120)
    with local_broker.running(apart) as bootstrap:
        reached = own.model_copy(update={"kafka": own.kafka.model_copy(update={"bootstrap": bootstrap})})
        topics.create(reached.kafka, bootstrap)
        send(reached.kafka, uploads[:60])
        with driver(reached) as process:
            assert comes_true(lambda: 1 in log_of(reached), 150)
            local_broker.down(apart)
            gone = time.monotonic()
            assert comes_true(lambda: time.monotonic() - gone > 30, 40)
            assert process.poll() is None
            with local_broker.running(apart) as again:
                assert again == bootstrap
                send(reached.kafka, uploads[60:])
                rows = spark.read.format("delta").load(reached.lake.at(Table.UPLOADS))
                assert comes_true(lambda: rows.count() == 120, 150)
                process.send_signal(signal.SIGINT)
                assert process.wait(60) == 0
                ingested(spark, reached)
                assert_all_accounted_for(spark, reached, uploads)


def end_of(kafka: Kafka, topic: str) -> int:
    found = {each.name: each for each in topics.describe(kafka, kafka.bootstrap)}
    return sum(end for _, end in found[topic].offsets.values()) if topic in found else 0


def processes_of(mark: str, root: int) -> list[int]:
    """Processes below one whose command line holds a word."""
    return [pid for pid in descendants(root) if mark in command_of(pid)]


def parents_of(mark: str, root: int) -> list[int]:
    return [parent_of(pid) for pid in processes_of(mark, root) if mark not in command_of(parent_of(pid))]


def descendants(root: int) -> list[int]:
    found, reached = [root], 0
    while reached < len(found):
        tasks = Path(f"/proc/{found[reached]}/task")
        for task in list(tasks.iterdir()) if tasks.is_dir() else []:
            try:
                found += map(int, (task / "children").read_text().split())
            except OSError:
                continue
        reached += 1
    return found[1:]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
