"""Ingestion exactly once although processes are killed at the worst moments or Kafka is unavailable."""

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
from lake.table import Table
from local import broker as local_broker
from streaming import topics
from streaming.contract.record import Upload
from streaming.ingestion import Ingestion, IngestReport
from tests.support.accounts import assert_all_accounted_for
from tests.support.commands import ROOT, hub_command
from tests.support.uploads import send, upload
from tests.support.waiting import wait_until

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
    """Uploads in the topic: valid ones, one in ten broken, and one in forty sent twice."""
    uploads = mixed_uploads(RECORDS)
    send(own.kafka, uploads)
    return uploads


def mixed_uploads(count: int, first: int = 0) -> list[Upload]:
    uploads: list[Upload] = []
    for number in range(first, first + count):
        if number % 40 == 39:
            uploads.append(uploads[-2])
        elif number % 10 == 5:
            uploads.append(upload(number, content=b"GIF89a, no picture that is taken"))
        else:
            uploads.append(upload(number, label=("cat", "dog")[number % 2]))
    return uploads


def ingest_once(spark: SparkSession, own: Settings) -> IngestReport:
    report = IngestReport()
    Ingestion(spark, own, own.kafka.bootstrap).once(report)
    return report


@contextmanager
def driver(own: Settings, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """`hub ingest` in a process group of its own, which is killed after the block."""
    variables = {
        "HUB__LAKE__ROOT": own.lake.root,
        "HUB__INGEST__INDEX_DIR": str(own.ingest.index_dir),
        "HUB__INGEST__BATCH_RECORDS": str(own.ingest.batch_records),
        "HUB__INGEST__TRIGGER_SECONDS": "0.2",
        "HUB__KAFKA__BOOTSTRAP": own.kafka.bootstrap,
        "HUB__KAFKA__TOPIC": own.kafka.topic,
        "HUB__KAFKA__REJECTED_TOPIC": own.kafka.rejected_topic,
        "HUB__KAFKA__VERDICTS_TOPIC": own.kafka.verdicts_topic,
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


def kill_ingestion_when(own: Settings, condition: Callable[[], bool]) -> None:
    """Run an ingestion and kill it, including its JVM, as soon as a condition is true."""
    with driver(own, "--once") as process:
        deadline = time.monotonic() + 150
        while not condition():
            assert process.poll() is None, process.communicate()[1].decode()
            assert time.monotonic() < deadline
        kill(process)


def ledger_versions(own: Settings) -> set[int]:
    """Versions of the ledger."""
    folder = Path(own.lake.at(Table.UPLOADS, "_delta_log"))
    return {int(path.stem) for path in folder.glob("*.json") if path.stem.isdigit()}


def count_ledger_files(own: Settings) -> int:
    return sum(1 for _ in Path(own.lake.at(Table.UPLOADS)).glob("*.parquet"))


def checkpointed_batches(own: Settings, kind: str) -> set[int]:
    """Ids of the batches in the checkpoint's `offsets` or `commits`."""
    folder = Path(own.lake.at("checkpoints", f"ingest-{own.kafka.topic}", kind))
    return {int(path.name) for path in folder.glob("*") if path.name.isdigit()}


def test_killed_before_the_write(spark: SparkSession, own: Settings, sent: list[Upload]) -> None:
    kill_ingestion_when(own, lambda: 2 in checkpointed_batches(own, "offsets"))
    assert 3 not in ledger_versions(own)  # version 0 created the table
    assert 0 < ingest_once(spark, own).records < RECORDS
    assert_all_accounted_for(spark, own, sent)


def test_killed_after_the_files_but_before_the_commit(
    spark: SparkSession, own: Settings, sent: list[Upload]
) -> None:
    """The files of the killed attempt stay, and are not part of any version."""
    before: dict[int, int] = {}

    def files_without_a_commit() -> bool:
        versions = max(ledger_versions(own), default=-1)
        if versions < 2:
            return False
        files = count_ledger_files(own)
        before.setdefault(versions, files)
        return files > before[versions] and max(ledger_versions(own)) == versions

    kill_ingestion_when(own, files_without_a_commit)
    versions = max(ledger_versions(own))
    on_disk = count_ledger_files(own)
    assert 0 < ingest_once(spark, own).records < RECORDS
    assert_all_accounted_for(spark, own, sent)
    used = spark.read.format("delta").load(own.lake.at(Table.UPLOADS)).inputFiles()
    assert len(used) < count_ledger_files(own)
    assert on_disk > before[versions]


def test_killed_after_the_commit_but_before_the_checkpoint(
    spark: SparkSession, own: Settings, sent: list[Upload]
) -> None:
    kill_ingestion_when(own, lambda: 3 in ledger_versions(own))
    committed = max(ledger_versions(own))
    assert committed - 1 not in checkpointed_batches(own, "commits"), "the checkpoint was faster"
    assert ingest_once(spark, own).records < RECORDS
    assert_all_accounted_for(spark, own, sent)


def test_a_killed_python_worker_costs_a_retry(spark: SparkSession, own: Settings, sent: list[Upload]) -> None:
    """It is killed while its decoder decodes a picture."""
    with driver(own, "--once", HUB__DECODING__FUNCTION="tests.support.slow:prepare") as process:
        assert wait_until(lambda: 1 in ledger_versions(own), 150)
        workers: list[int] = []

        def at_work() -> bool:
            workers[:] = parents_of("streaming.isolate.sandbox", process.pid)
            return bool(workers)

        assert wait_until(at_work, 60)
        os.kill(workers[0], signal.SIGKILL)
        assert process.wait(150) == 0, process.communicate()[1].decode()
    assert_all_accounted_for(spark, own, sent)


def test_a_killed_executor_costs_a_retry(spark: SparkSession, own: Settings, sent: list[Upload]) -> None:
    slow = {
        "HUB__DECODING__FUNCTION": "tests.support.slow:prepare",
        "HUB__SPARK__MASTER": "local-cluster[2,1,1024]",
    }
    with driver(own, "--once", **slow) as process:
        assert wait_until(lambda: 1 in ledger_versions(own), 200)
        executors = processes_of("CoarseGrainedExecutorBackend", process.pid)
        assert len(executors) == 2
        os.kill(executors[0], signal.SIGKILL)
        assert process.wait(200) == 0, process.communicate()[1].decode()
    assert_all_accounted_for(spark, own, sent)


def test_a_topic_that_gains_partitions_is_read_from_their_beginning(
    spark: SparkSession, own: Settings, sent: list[Upload]
) -> None:
    ingest_once(spark, own)
    admin = KafkaAdminClient(**topics.client_options(own.kafka, own.kafka.bootstrap))
    try:
        admin.create_partitions({own.kafka.topic: own.kafka.partitions + 2})
    finally:
        admin.close()
    assert wait_until(
        lambda: (
            len(topics.partitions(own.kafka, own.kafka.bootstrap, own.kafka.topic))
            == own.kafka.partitions + 2
        )
    )
    more = mixed_uploads(60, first=RECORDS)
    send(own.kafka, more[:30], partition=own.kafka.partitions)
    send(own.kafka, more[30:], partition=own.kafka.partitions + 1)
    assert ingest_once(spark, own).records == 60
    assert_all_accounted_for(spark, own, [*sent, *more])


def test_dead_letters_wait_for_their_topic_and_the_ledger_does_not(
    spark: SparkSession, own: Settings, tmp_path: Path
) -> None:
    """Continuous ingestion: the topic does not exist at the start, and is created while it runs."""
    name = f"{own.kafka.rejected_topic}.later"
    own = own.model_copy(update={"kafka": own.kafka.model_copy(update={"rejected_topic": name})})
    uploads = mixed_uploads(80)
    send(own.kafka, uploads[:40])
    with driver(own) as process:
        assert wait_until(lambda: 1 in ledger_versions(own), 150)
        send(own.kafka, uploads[40:])
        assert wait_until(lambda: max(ledger_versions(own)) >= 2, 60)
        # Its producer waits a minute for the topic before the query fails and is restarted.
        assert process.poll() is None
        topics.create(own.kafka, own.kafka.bootstrap)
        due = sum(record.content == uploads[5].content for record in uploads) + 2
        assert wait_until(lambda: count_records(own.kafka, name) >= due, 200)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    ingest_once(spark, own)
    assert_all_accounted_for(spark, own, uploads)


def test_ingestion_survives_a_broker_that_is_unavailable_for_half_a_minute(
    spark: SparkSession, settings: Settings, own: Settings, tmp_path: Path
) -> None:
    folder = settings.broker.model_copy(update={"dir": tmp_path / "broker"})
    apart = own.model_copy(update={"broker": folder, "kafka": own.kafka.model_copy(update={"bootstrap": ""})})
    uploads = mixed_uploads(120)
    with local_broker.running(apart) as bootstrap:
        reached = own.model_copy(update={"kafka": own.kafka.model_copy(update={"bootstrap": bootstrap})})
        topics.create(reached.kafka, bootstrap)
        send(reached.kafka, uploads[:60])
        with driver(reached) as process:
            assert wait_until(lambda: 1 in ledger_versions(reached), 150)
            local_broker.down(apart)
            gone = time.monotonic()
            assert wait_until(lambda: time.monotonic() - gone > 30, 40)
            assert process.poll() is None
            with local_broker.running(apart) as again:
                assert again == bootstrap
                send(reached.kafka, uploads[60:])
                rows = spark.read.format("delta").load(reached.lake.at(Table.UPLOADS))
                assert wait_until(lambda: rows.count() == 120, 150)
                process.send_signal(signal.SIGINT)
                assert process.wait(60) == 0
                ingest_once(spark, reached)
                assert_all_accounted_for(spark, reached, uploads)


def count_records(kafka: Kafka, topic: str) -> int:
    found = {each.name: each for each in topics.describe(kafka, kafka.bootstrap)}
    return sum(end for _, end in found[topic].offsets.values()) if topic in found else 0


def processes_of(mark: str, root: int) -> list[int]:
    """Descendants of a process whose command line contains a word."""
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
