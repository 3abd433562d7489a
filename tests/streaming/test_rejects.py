"""Rejected uploads: listed, saved with their original bytes, and replayed."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from conf.errors import UsageError
from conf.sections import Kafka, Lake
from conf.settings import Settings
from jobs.cli.reject_filters import parse_selection
from lake import tables
from lake.table import Table
from streaming import rejects
from streaming.errors import NoRejects
from streaming.ingestion import Ingestion, IngestReport
from streaming.kafka_source import spark_options
from streaming.ledger.upload_index import Position
from streaming.rejects import Selection
from streaming.upload import producer
from tests.support import pictures
from tests.support.commands import Hub
from tests.support.machines import local_time
from tests.support.uploads import received, send, upload

pytestmark = pytest.mark.services


@pytest.fixture
def own(settings: Settings, kafka: Kafka, tmp_path: Path) -> Settings:
    """Settings with a lake, an index and topics that no other test has; small pictures are refused."""
    ingest = settings.ingest.model_copy(update={"index_dir": tmp_path / "index", "shortest_side": 100})
    lake = Lake(root=str(tmp_path / "lake"))
    return settings.model_copy(update={"lake": lake, "kafka": kafka, "ingest": ingest})


def ingest_once(spark: SparkSession, own: Settings) -> IngestReport:
    report = IngestReport()
    Ingestion(spark, own, own.kafka.bootstrap).once(report)
    return report


def replay(spark: SparkSession, own: Settings, selection: Selection) -> rejects.Replay:
    planned = rejects.plan_replay(spark, own.lake, selection)
    records = rejects.replay_records(spark, own.lake, planned)
    sent = producer.push(own.kafka, own.push, own.kafka.bootstrap, records)
    assert (sent.acknowledged, sent.failed) == (len(planned.positions), 0)
    return planned


@pytest.mark.faults  # slow
def test_a_replay_is_accepted_with_another_setting_and_only_once(spark: SparkSession, own: Settings) -> None:
    small = [upload(number) for number in range(3)]
    big = upload(7, content=pictures.jpeg(200, 200))
    away = upload(8, content=None, dataref="s3://elsewhere/picture.jpg")
    send(own.kafka, [*small, big, dataclasses.replace(big, label="dog"), away], partition=0)
    first = ingest_once(spark, own)
    assert first.rejected == {"too_small": 3, "duplicate_upload": 1, "payload_unreachable": 1}
    lenient = own.model_copy(update={"ingest": own.ingest.model_copy(update={"shortest_side": 32})})

    replay(spark, own, Selection(reasons=("too_small", "payload_unreachable")))

    sent = received(own.kafka, own.kafka.topic)[6:]
    assert {record.value for record in sent} == {each.content for each in small} | {None}
    for each, offset in [*zip(small, range(3), strict=True), (away, 5)]:
        copy = next(r for r in sent if ("ce_id", each.id.encode()) in r.headers)
        assert copy.key == each.key()
        where = f"{own.kafka.topic}/0/{offset}".encode()
        assert copy.headers == [*each.headers(), ("hub_replay_of", where)]
    again = ingest_once(spark, lenient)
    assert (again.accepted, again.rejected) == (3, {"payload_unreachable": 1})

    replay(spark, own, Selection(reasons=("too_small",)))

    twice = ingest_once(spark, lenient)
    assert (twice.accepted, twice.rejected) == (0, {"duplicate_upload": 3})
    uploads = tables.read(spark, own.lake, Table.UPLOADS).where("verdict = 'accepted'")
    assert uploads.count() == uploads.select("upload_id").distinct().count() == 4
    with pytest.raises(NoRejects, match=r"4 duplicate_upload.* rejected again"):
        rejects.plan_replay(spark, own.lake, Selection(reasons=("duplicate_upload",)))
    # A replay that was rejected again names its last position, once.
    replay(spark, own, Selection(reasons=("payload_unreachable",)))
    marks = [[v for k, v in r.headers if k == "hub_replay_of"] for r in received(own.kafka, own.kafka.topic)]
    assert all(len(of) <= 1 for of in marks)


def test_a_replay_works_for_records_that_the_client_library_cannot_send_unchanged(
    spark: SparkSession, own: Settings
) -> None:
    """Kafka allows headers without a value, and records without key and value."""
    schema = "key binary, value binary, headers array<struct<key: string, value: binary>>"
    rows = [
        (b"phone", b"rubbish", [("ce_label", None), ("ce_id", b"1")]),
        (None, None, [("ce_id", b"2"), ("ce_id", None)]),
    ]
    frame = spark.createDataFrame(rows, schema).coalesce(1).write.format("kafka")
    frame.options(**spark_options(own.kafka, own.kafka.bootstrap)).option("topic", own.kafka.topic).save()
    assert ingest_once(spark, own).rejected == {"missing_header": 2}

    assert len(replay(spark, own, Selection()).positions) == 2

    replays = [r for r in received(own.kafka, own.kafka.topic) if dict(r.headers).get("hub_replay_of")]
    assert sorted((dict(r.headers)["ce_id"], r.value) for r in replays) == [(b"1", b"rubbish"), (b"2", None)]
    assert ingest_once(spark, own).rejected == {"missing_header": 2}


def test_rejects_are_selected_counted_and_listed_newest_first(spark: SparkSession, own: Settings) -> None:
    send(own.kafka, [upload(1), upload(2, content=b""), upload(3, content=pictures.jpeg(200, 200))])
    ingest_once(spark, own)
    between = datetime.now(UTC)
    send(own.kafka, [upload(4, content=b"", batch="later"), upload(5, content=b"")])
    ingest_once(spark, own)

    def listed(**conditions: object) -> list[tuple[str, str]]:
        listing = rejects.list_rejects(spark, own.lake, Selection(**conditions))  # type: ignore[arg-type]
        return [(row["device"], row["reason"]) for row in listing.rows]

    everything = rejects.list_rejects(spark, own.lake, Selection(limit=2))
    assert everything.counts == {"empty": 3, "too_small": 1}
    assert {row["device"] for row in everything.rows} == {"phone-4", "phone-5"}
    assert listed(reasons=("too_small",)) == [("phone-1", "too_small")]
    assert listed(batches=("later",)) == listed(devices=("phone-4",)) == [("phone-4", "empty")]
    assert len(listed(since=between)) == 2
    with local_time("Asia/Kolkata"):
        (newest,) = rejects.list_rejects(spark, own.lake, Selection(limit=1)).rows
    assert newest["ingest_time"].tzinfo is UTC and between < newest["ingest_time"] < datetime.now(UTC)
    plan = Selection().rows(spark, own.lake).select(*rejects._LISTED)._jdf.queryExecution().toString()
    scan = next(line for line in plan.splitlines() if "ReadSchema" in line or "FileScan" in line)
    assert not {"jpeg", "thumbnail", "payload"} & set(scan.replace(":", " ").replace(",", " ").split())


@pytest.mark.faults  # slow
def test_the_command_lists_saves_and_refuses_to_overwrite(
    spark: SparkSession, own: Settings, hub: Hub, tmp_path: Path
) -> None:
    cut = upload(1, content=pictures.jpeg(200, 200)[:300])
    send(own.kafka, [cut, upload(2, content=None)], partition=1)
    ingest_once(spark, own)
    at, file, lake = f"{own.kafka.topic}/1/0", tmp_path / "saved.bin", {"HUB__LAKE__ROOT": own.lake.root}
    saved = hub("rejects", "--save", at, str(file), "--json", **lake)
    assert json.loads(saved.stdout) == {"position": at, "file": str(file), "bytes": 300}
    assert file.read_bytes() == cut.content
    again = hub("rejects", "--save", at, str(file), **lake)
    assert (again.status, again.stderr.count("\n")) == (2, 1)
    assert "--overwrite replaces it" in again.stderr
    listed = json.loads(hub("rejects", "--json", **lake).stdout)
    assert listed["rejected"] == 2
    assert listed["reasons"]["truncated"] == 1
    with pytest.raises(NoRejects, match="was sent without bytes: its value is null"):
        rejects.original_bytes(spark, own.lake, Position(own.kafka.topic, 1, 1))
    with pytest.raises(NoRejects, match=r"/1/9 is not a rejected upload"):
        rejects.original_bytes(spark, own.lake, Position(own.kafka.topic, 1, 9))


@pytest.mark.parametrize("text", ["images", "images/0", "images/0/", "images/x/1", "images/-1/2", "/0/1"])
def test_a_malformed_position_is_named(text: str) -> None:
    with pytest.raises(UsageError, match=r"is not topic/partition/offset"):
        rejects.parse_position(text)


def test_times_are_relative_or_absolute() -> None:
    since = parse_selection((), (), (), "2h").since
    assert since is not None
    assert timedelta(hours=1, minutes=59) < datetime.now(UTC) - since < timedelta(hours=2, minutes=1)
    assert parse_selection((), (), (), "2026-11-21T08:00").since == datetime(2026, 11, 21, 8, tzinfo=UTC)
    for wrong in ("soon", "999999d"):
        with pytest.raises(UsageError, match=rf"--since '{wrong}'"):
            parse_selection((), (), (), wrong)
    with pytest.raises(UsageError, match=r"'tiny'.*too_small"):
        parse_selection(("tiny",), (), (), None)
