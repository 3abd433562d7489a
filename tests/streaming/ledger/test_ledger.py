"""A micro-batch is judged once: what the ledger says is what everything else goes by."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from conf.sections import Kafka, Lake
from conf.settings import Settings
from lake import tables
from lake.schemas import Table
from streaming.ingestion import Ingestion, IngestReport
from streaming.ledger import ledger
from streaming.ledger.resume_offsets import checkpoint_of, query_of
from tests.support.uploads import send, upload

pytestmark = pytest.mark.services


@pytest.fixture
def own(settings: Settings, kafka: Kafka, tmp_path: Path) -> Settings:
    """Settings with a lake, an index and topics that no other test has."""
    lake = Lake(root=str(tmp_path / "lake"))
    ingest = settings.ingest.model_copy(update={"index_dir": tmp_path / "index"})
    return settings.model_copy(update={"lake": lake, "kafka": kafka, "ingest": ingest})


def strict(own: Settings) -> Settings:
    """Settings by which the pictures of these tests are too small."""
    ingest = own.ingest.model_copy(update={"shortest_side": 4000})
    return own.model_copy(update={"ingest": ingest})


def ingested(spark: SparkSession, own: Settings) -> IngestReport:
    report = IngestReport()
    Ingestion(spark, own, own.kafka.bootstrap).once(report)
    return report


def verdicts(spark: SparkSession, own: Settings) -> Counter[str]:
    return Counter(row.verdict for row in tables.read(spark, own.lake, Table.UPLOADS).collect())


@pytest.mark.parametrize("first", ["rejected", pytest.param("accepted", marks=pytest.mark.faults)])
def test_a_batch_that_is_in_the_ledger_but_not_in_the_checkpoint_stays_as_it_is(
    spark: SparkSession, own: Settings, first: str
) -> None:
    """As a driver leaves it that was killed between the two; a setting was changed before the restart."""
    before, after = (strict(own), own) if first == "rejected" else (own, strict(own))
    sent = [upload(number) for number in range(4)]
    send(own.kafka, sent)
    ingested(spark, before)
    committed = Path(checkpoint_of(own, query_of(own.kafka.topic)).root) / "commits"
    for file in (committed / "0", committed / ".0.crc"):
        file.unlink()

    again = ingested(spark, after)

    assert (committed / "0").exists()
    assert (again.records, again.accepted) == (0, 0), "they were counted when they were committed"
    assert verdicts(spark, own) == {first: 4}
    send(own.kafka, sent)  # as a replay does
    report = ingested(spark, own)
    known = {"duplicate_upload": 4} if first == "accepted" else {}
    assert (report.records, report.rejected) == (4, known)


def test_what_was_judged_and_lost_is_judged_as_a_whole_once_more(
    spark: SparkSession, own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when an executor is lost before the commit; by then its pictures come out otherwise."""
    decoding = own.decoding.model_copy(update={"function": "tests.support.slow:moody"})
    moody = own.model_copy(update={"decoding": decoding})
    judge, judged = ledger._judged, []

    def judge_and_lose(rows: Any) -> Any:
        judged.append(judge(rows))
        if len(judged) == 1:
            lose_cache(spark)
        return judged[-1]

    monkeypatch.setattr(ledger, "_judged", judge_and_lose)
    sent = [upload(number) for number in range(6)]
    send(own.kafka, sent)

    report = ingested(spark, moody)

    assert [Counter(each["verdict"].to_pylist()) for each in judged] == [{"rejected": 6}, {"accepted": 6}]
    assert (report.records, report.accepted) == (6, 6)
    assert verdicts(spark, own) == {"accepted": 6}
    send(own.kafka, sent)
    assert ingested(spark, own).rejected == {"duplicate_upload": 6}


def lose_cache(spark: SparkSession) -> None:
    """Take the blocks of everything that is cached, but not the knowledge that it is."""
    jvm = spark._jvm
    assert jvm is not None
    for identifier in list(spark.sparkContext._jsc.getPersistentRDDs().keySet()):
        jvm.org.apache.spark.SparkEnv.get().blockManager().master().removeRdd(identifier, True)


@pytest.mark.parametrize("how", ["restored", pytest.param("backup", marks=pytest.mark.faults)])
def test_an_index_that_is_ahead_of_the_ledger_is_made_anew(
    spark: SparkSession, own: Settings, how: str
) -> None:
    first, lost = upload(1), upload(2)
    send(own.kafka, [first], partition=0)
    ingested(spark, own)
    old = tables.version(spark, own.lake, Table.UPLOADS)
    send(own.kafka, [lost], partition=0)
    ingested(spark, own)
    log = Path(own.lake.at(Table.UPLOADS, "_delta_log"))
    if how == "restored":
        spark.sql(f"RESTORE TABLE delta.`{own.lake.at(Table.UPLOADS)}` TO VERSION AS OF {old}")
    else:
        for file in list(log.glob(f"*{old + 1:020}.*")):
            file.unlink()
        spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()  # type: ignore[union-attr]
    checkpoints = Path(own.lake.at("checkpoints"))
    checkpoints.rename(checkpoints.with_name("lost"))

    report = ingested(spark, own)

    assert (report.records, report.accepted, report.rejected) == (1, 1, {})
    assert {row.upload_id for row in tables.read(spark, own.lake, Table.UPLOADS).collect()} == {
        first.id, lost.id,
    }  # fmt: skip
