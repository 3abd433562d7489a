"""Ingestion from Kafka to the tables, with a real broker and Delta tables."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from conf.sections import Kafka, Lake
from conf.settings import Settings
from lake import tables, views
from lake.errors import BadQuery
from lake.label_slug import label_slug
from lake.table import Table
from streaming.errors import BrokerUnreachable, IngestFailed
from streaming.ingestion import Ingestion, IngestReport
from streaming.ledger import ledger
from tests.support import evil, pictures
from tests.support.commands import ROOT, hub_command
from tests.support.uploads import received, send, upload
from tests.support.waiting import wait_until

pytestmark = pytest.mark.services


@pytest.fixture
def own(settings: Settings, kafka: Kafka, tmp_path: Path) -> Settings:
    """Settings with a lake, an index and topics that no other test has."""
    lake = Lake(root=str(tmp_path / "lake"))
    ingest = settings.ingest.model_copy(update={"index_dir": tmp_path / "index"})
    return settings.model_copy(update={"lake": lake, "kafka": kafka, "ingest": ingest})


def ingest_once(spark: SparkSession, own: Settings) -> IngestReport:
    report = IngestReport()
    Ingestion(spark, own, own.kafka.bootstrap).once(report)
    return report


def table(spark: SparkSession, own: Settings, name: Table) -> DataFrame:
    return tables.read(spark, own.lake, name)


def assert_every_offset_once(uploads: DataFrame, records: int) -> None:
    assert uploads.count() == records
    assert uploads.select("topic", "partition", "offset").distinct().count() == records
    ranges = (
        uploads.groupBy("partition").agg(f.count("*").alias("n"), f.max("offset").alias("last")).collect()
    )
    assert all(row.n == row.last + 1 for row in ranges)
    assert uploads.where("(verdict = 'accepted') = (reason IS NOT NULL)").isEmpty()


@pytest.mark.parametrize("codegen_rows", [ledger.CODEGEN_ROWS, 0], ids=["few rows", "as if many rows"])
def test_uploads_samples_labels_and_dead_letters(
    spark: SparkSession, own: Settings, monkeypatch: pytest.MonkeyPatch, codegen_rows: int
) -> None:
    monkeypatch.setattr(ledger, "CODEGEN_ROWS", codegen_rows)
    good = [upload(number, label=["cat", "Crème brûlée"][number % 2]) for number in range(20)]
    cut = upload(30, content=pictures.jpeg(seed=30)[:200])
    nameless = (b"phone-9", pictures.jpeg(seed=31), [("ce_id", b"x"), ("other", b"\xff\0")])
    send(own.kafka, [*good, cut, nameless])

    report = ingest_once(spark, own)

    assert spark.conf.get("spark.sql.codegen.wholeStage") == "true", (
        "the session's properties were not restored"
    )
    assert (report.records, report.accepted) == (22, 20)
    assert report.rejected == {"truncated": 1, "missing_header": 1}
    uploads = table(spark, own, Table.UPLOADS)
    assert_every_offset_once(uploads, 22)
    stored = {row.upload_id: row for row in uploads.where("verdict = 'accepted'").collect()}
    for each in good:
        assert each.content is not None
        assert stored[each.id].image_id == hashlib.sha256(each.content).hexdigest()
        assert (stored[each.id].device, stored[each.id].label) == (each.device, label_slug(each.label))
        assert stored[each.id].label_name == each.label
    samples = table(spark, own, Table.SAMPLES)
    assert Counter(row.label for row in samples.collect()) == {"cat": 10, "creme_brulee": 10}
    labels = {row.label: row for row in table(spark, own, Table.LABELS).collect()}
    assert (labels["cat"].accepted, labels["cat"].parent, labels["cat"].display_name) == (10, "animal", "Cat")
    assert not labels["cat"].ready
    assert labels["creme_brulee"].display_name == "Crème brûlée"

    found = received(own.kafka, own.kafka.rejected_topic)
    letters = {dict(letter.headers)["hub_reason"]: letter for letter in found}
    assert set(letters) == {b"truncated", b"missing_header"}
    assert letters[b"truncated"].value == cut.content
    assert letters[b"truncated"].headers[: len(cut.headers())] == cut.headers()
    assert letters[b"missing_header"].value == nameless[1]
    where = dict(letters[b"missing_header"].headers)
    row = uploads.where("reason = 'missing_header'").head()
    assert row is not None
    assert (where["hub_topic"], where["hub_partition"], where["hub_offset"]) == (
        own.kafka.topic.encode(), str(row.partition).encode(), str(row.offset).encode(),
    )  # fmt: skip
    assert where["hub_detail"] == row.detail.encode()

    assert ingest_once(spark, own).records == 0


def test_a_repeated_upload_id_is_a_duplicate_in_any_batch_or_partition(
    spark: SparkSession, own: Settings
) -> None:
    first, other = upload(1), upload(2)
    within = replace(first, content=pictures.jpeg(seed=99))
    send(own.kafka, [first, within, other], partition=0)
    assert ingest_once(spark, own).rejected == {"duplicate_upload": 1}
    samples = table(spark, own, Table.SAMPLES).count()
    send(own.kafka, [other], partition=2)
    for database in own.ingest.index_dir.iterdir():  # a new machine has no index: it is rebuilt
        database.unlink()

    report = ingest_once(spark, own)

    assert (report.accepted, report.rejected) == (0, {"duplicate_upload": 1})
    assert_every_offset_once(table(spark, own, Table.UPLOADS).where("partition = 0"), 3)
    assert table(spark, own, Table.SAMPLES).count() == samples
    letters = received(own.kafka, own.kafka.rejected_topic)
    assert {letter.value for letter in letters} == {within.content, other.content}


def test_a_picture_that_crashes_or_blocks_the_decoder_is_rejected_and_the_others_are_accepted(
    spark: SparkSession, own: Settings
) -> None:
    """The decoder of this test really segfaults, aborts, loops, hangs, exits, and allocates 10 GiB."""
    decoding = own.decoding.model_copy(
        update={"function": "tests.support.evil:prepare", "timeout_seconds": 2.0}
    )
    own = own.model_copy(update={"decoding": decoding})
    deeds = {
        evil.SEGFAULT: "decoder_crashed", evil.ABORT: "decoder_crashed", evil.EXIT: "decoder_crashed",
        evil.NUMPY_ALLOCATION: "decoder_crashed", evil.C_ALLOCATION: "decoder_crashed",
        evil.BUSY_LOOP: "decode_timeout", evil.SLEEP: "decode_timeout",
    }  # fmt: skip
    good = [upload(number) for number in range(30)]
    bad = {
        upload(100 + number, content=pictures.jpeg(seed=100 + number) + deed): reason
        for number, (deed, reason) in enumerate(deeds.items())
    }
    mixed = [*good]
    for number, each in enumerate(bad):
        mixed.insert(4 * number, each)
    send(own.kafka, mixed, partition=0)

    report = ingest_once(spark, own)

    assert report.accepted == 30
    assert report.rejected == Counter(bad.values())
    reasons = {row.upload_id: row.reason for row in table(spark, own, Table.UPLOADS).collect()}
    assert reasons == {each.id: None for each in good} | {each.id: reason for each, reason in bad.items()}
    letters = received(own.kafka, own.kafka.rejected_topic)
    assert {letter.value for letter in letters} == {each.content for each in bad}


def test_one_image_under_two_labels_is_a_conflict_in_either_order(spark: SparkSession, own: Settings) -> None:
    """Within a batch and across batches; the ledger accepts it both times."""
    one, two = upload(1, label="cat"), upload(2, label="cat")
    send(own.kafka, [one, replace(upload(1, label="dog"), content=one.content), two])
    assert ingest_once(spark, own).accepted == 3
    send(own.kafka, [replace(upload(2, label="dog"), content=two.content), upload(3)])
    assert ingest_once(spark, own).accepted == 2
    flags = {row.upload_id: row.flags for row in table(spark, own, Table.SAMPLES).collect()}
    assert flags[one.id] == flags[two.id] == ["label_conflict"]
    assert len(flags) == 3


def test_without_a_checkpoint_ingestion_resumes_where_the_ledger_ends(
    spark: SparkSession, own: Settings
) -> None:
    send(own.kafka, [upload(number) for number in range(5)])
    ingest_once(spark, own)
    checkpoint = Path(own.lake.at("checkpoints", f"ingest-{own.kafka.topic}"))
    checkpoint.rename(checkpoint.with_name("lost"))
    send(own.kafka, [upload(number) for number in range(5, 8)])
    assert ingest_once(spark, own).records == 3
    assert_every_offset_once(table(spark, own, Table.UPLOADS), 8)


@pytest.mark.faults
def test_after_a_kill_between_batches_every_offset_is_ingested_exactly_once(
    spark: SparkSession, own: Settings, tmp_path: Path
) -> None:
    send(own.kafka, [upload(number % 90) for number in range(300)])
    environment = os.environ | {
        "HUB__LAKE__ROOT": own.lake.root,
        "HUB__INGEST__INDEX_DIR": str(own.ingest.index_dir),
        "HUB__INGEST__BATCH_RECORDS": "30",
        "HUB__KAFKA__BOOTSTRAP": own.kafka.bootstrap,
        "HUB__KAFKA__TOPIC": own.kafka.topic,
        "HUB__KAFKA__REJECTED_TOPIC": own.kafka.rejected_topic,
        "HUB__KAFKA__VERDICTS_TOPIC": own.kafka.verdicts_topic,
    }
    log = Path(own.lake.at(Table.UPLOADS, "_delta_log"))
    driver = subprocess.Popen(hub_command("ingest", "--once"), env=environment, start_new_session=True)
    try:
        # Version 0 created the table; 3 is the third of ten batches.
        assert wait_until((log / f"{3:020}.json").exists, 120)
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait(30)
    assert not (log / f"{10:020}.json").exists()

    done = subprocess.run(
        hub_command("ingest", "--once", "--json"),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    uploads = table(spark, own, Table.UPLOADS)
    assert_every_offset_once(uploads, 300)
    assert 0 < json.loads(done.stdout)["records"] < 300
    assert uploads.where("verdict = 'accepted'").count() == 300
    assert table(spark, own, Table.SAMPLES).count() == 90
    counted = table(spark, own, Table.LABELS).agg(f.sum("accepted")).head()
    assert counted is not None
    assert counted[0] == 300


def test_a_missing_topic_is_named(spark: SparkSession, own: Settings) -> None:
    kafka = own.kafka.model_copy(update={"topic": "nobody"})
    with pytest.raises(IngestFailed, match=r"no topic 'nobody'.*hub up"):
        ingest_once(spark, own.model_copy(update={"kafka": kafka}))


def test_an_unreachable_broker_is_reported_in_time(spark: SparkSession, own: Settings) -> None:
    kafka = own.kafka.model_copy(update={"bootstrap": "127.0.0.1:9", "connect_seconds": 1.0})
    with pytest.raises(BrokerUnreachable, match=r"127\.0\.0\.1:9"):
        ingest_once(spark, own.model_copy(update={"kafka": kafka}))


def test_views_can_be_queried_and_bad_sql_is_a_one_line_error(spark: SparkSession, own: Settings) -> None:
    send(own.kafka, [upload(1), upload(2, content=b"")])
    ingest_once(spark, own)
    views.register(spark, own.lake)
    found = views.query(spark, "SELECT submitted, accepted, rejected_by_reason, quality FROM batches", 10)
    assert found.rows == [{"submitted": 2, "accepted": 1, "rejected_by_reason": {"empty": 1}, "quality": 0.5}]
    assert views.query(spark, "SELECT * FROM devices", 1).truncated
    pixels = views.query(spark, "SELECT jpeg FROM uploads WHERE verdict = 'accepted'", 1).rows[0]["jpeg"]
    assert pixels.endswith(" bytes>")
    with pytest.raises(BadQuery, match=r"nothing.*views: batches, clusters, columns, datasets, "):
        views.query(spark, "SELECT * FROM nothing", 1)


@pytest.mark.faults  # slow
def test_a_script_with_only_the_spark_defaults_reads_the_tables(
    spark: SparkSession, own: Settings, tmp_path: Path
) -> None:
    send(own.kafka, [upload(1), upload(2, label="dog"), upload(3)])
    ingest_once(spark, own)
    script = tmp_path / "count.py"
    script.write_text(
        "import sys\n"
        "from pyspark.sql import SparkSession\n"
        "spark = SparkSession.builder.getOrCreate()\n"
        "spark.read.format('delta').load(sys.argv[1] + '/samples').createOrReplaceTempView('samples')\n"
        "rows = spark.sql('SELECT label, count(*) FROM samples GROUP BY label').collect()\n"
        "print(sorted(map(tuple, rows)))\n"
    )
    submit = ["spark-submit", "--properties-file", "conf/spark-defaults.conf", str(script), own.lake.root]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        submit, cwd=ROOT, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1:] == ["[('cat', 2), ('dog', 1)]"], done.stderr
