"""New and extended followers read the whole ledger, even after an erasure that purged its history."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from conf.sections import Kafka, Lake
from conf.settings import Settings
from lake import tables
from lake.table import Table
from streaming.follow import ledger_stream
from streaming.follow.follower import Follower, FollowerContext, Write
from streaming.follow.followers import FOLLOWERS
from streaming.ingestion import Ingestion, IngestReport
from streaming.ledger.resume_offsets import checkpoint_of
from tests.support.uploads import send, upload

pytestmark = pytest.mark.services


@pytest.fixture
def own(settings: Settings, kafka: Kafka, tmp_path: Path) -> Settings:
    """Settings with a lake, an index and topics that no other test has."""
    ingest = settings.ingest.model_copy(update={"index_dir": tmp_path / "index"})
    lake = Lake(root=str(tmp_path / "lake"))
    return settings.model_copy(update={"lake": lake, "kafka": kafka, "ingest": ingest})


@pytest.fixture
def read(spark: SparkSession, own: Settings) -> Callable[[Follower], list[str]]:
    """Runs a follower until it has caught up; returns the upload ids that it has read."""

    def read_all(follower: Follower) -> list[str]:
        ids: list[str] = []

        def write(rows: DataFrame, batch: int) -> None:
            ids.extend(row.upload_id for row in rows.collect())

        stream = ledger_stream.uploads(spark, own, follower).writeStream.foreachBatch(write)
        query = (
            stream.option("checkpointLocation", checkpoint_of(own, follower.query).root)
            .trigger(availableNow=True)
            .start()
        )
        assert query.awaitTermination(120)
        return sorted(ids)

    return read_all


def _writer(context: FollowerContext) -> Write:
    raise NotImplementedError  # the test has its own writer


def test_a_new_or_extended_follower_reads_the_whole_ledger_after_an_erasure(
    spark: SparkSession, own: Settings, read: Callable[[Follower], list[str]]
) -> None:
    first, later = [upload(0), upload(1)], [upload(2)]
    send(own.kafka, first)
    Ingestion(spark, own, own.kafka.bootstrap).once(IngestReport())
    # An erasure ends with a commit that changes properties only.
    spark.sql(f"ALTER TABLE delta.`{own.lake.at(Table.UPLOADS)}` SET TBLPROPERTIES ('one' = 'more')")
    version = tables.version(spark, own.lake, Table.UPLOADS)
    ledger_stream.restart_at(spark, own, version)

    new = Follower("new", ["upload_id"], "reads all again", _writer)
    assert read(new) == sorted(each.id for each in first), "it did not exist at the time of the erasure"

    ledger_stream.restart_at(spark, own, version, [*FOLLOWERS, new])
    send(own.kafka, later)
    Ingestion(spark, own, own.kafka.bootstrap).once(IngestReport())
    assert read(new) == [each.id for each in later], "it had read everything up to the second erasure"
    assert read(replace(new, version=2)) == sorted(each.id for each in first + later)


def test_followers_have_unique_names() -> None:
    assert len({each.name for each in FOLLOWERS}) == len(FOLLOWERS)
