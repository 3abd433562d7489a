"""A micro-batch is verified once: the index and the counts agree with the ledger."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from conf.sections import Kafka, Lake
from conf.settings import Settings
from lake import tables
from lake.table import Table
from streaming.ingestion import Ingestion, IngestReport
from streaming.ledger import ledger
from streaming.ledger.resume_offsets import checkpoint_of, query_name
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
def test_a_batch_in_the_ledger_but_not_in_the_checkpoint_is_not_verified_again(
    spark: SparkSession, own: Settings, first: str
) -> None:
    """A driver was killed between commit and checkpoint; a setting was changed before the restart."""
    before, after = (strict(own), own) if first == "rejected" else (own, strict(own))
    sent = [upload(number) for number in range(4)]
    send(own.kafka, sent)
    ingested(spark, before)
    committed = Path(checkpoint_of(own, query_name(own.kafka.topic)).root) / "commits"
    for file in (committed / "0", committed / ".0.crc"):
        file.unlink()

    again = ingested(spark, after)

    assert (committed / "0").exists()
    assert (again.records, again.accepted) == (0, 0), "they were counted when they were committed"
    assert verdicts(spark, own) == {first: 4}
    send(own.kafka, sent)  # like a replay
    report = ingested(spark, own)
    known = {"duplicate_upload": 4} if first == "accepted" else {}
    assert (report.records, report.rejected) == (4, known)


def test_a_batch_with_lost_verdicts_is_verified_again_as_a_whole(
    spark: SparkSession, own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An executor is lost before the commit; verified again, its pictures get other verdicts."""
    # Not isolated: the kernel would kill a decoder that touches files.
    decoding = own.decoding.model_copy(update={"function": "tests.support.slow:moody", "isolated": False})
    moody = own.model_copy(update={"decoding": decoding})
    collect, collected = ledger._collect_verdicts, []

    def collect_and_lose(rows: Any) -> Any:
        collected.append(collect(rows))
        if len(collected) == 1:
            lose_cache(spark)
        return collected[-1]

    monkeypatch.setattr(ledger, "_collect_verdicts", collect_and_lose)
    sent = [upload(number) for number in range(6)]
    send(own.kafka, sent)

    report = ingested(spark, moody)

    assert [Counter(each["verdict"].to_pylist()) for each in collected] == [{"rejected": 6}, {"accepted": 6}]
    assert (report.records, report.accepted) == (6, 6)
    assert verdicts(spark, own) == {"accepted": 6}
    send(own.kafka, sent)
    assert ingested(spark, own).rejected == {"duplicate_upload": 6}


def lose_cache(spark: SparkSession) -> None:
    """Remove all cached blocks; Spark still has the plans as cached."""
    jvm = spark._jvm
    assert jvm is not None
    for identifier in list(spark.sparkContext._jsc.getPersistentRDDs().keySet()):
        jvm.org.apache.spark.SparkEnv.get().blockManager().master().removeRdd(identifier, True)


@pytest.mark.parametrize("how", ["restored", pytest.param("backup", marks=pytest.mark.faults)])
def test_an_index_that_is_ahead_of_the_ledger_is_rebuilt(
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
