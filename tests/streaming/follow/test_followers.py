"""Followers of the ledger are started again, whatever their failure."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from streaming.follow import followers
from streaming.follow.followers import Followers
from tests.support.waiting import comes_true

pytestmark = pytest.mark.services


@pytest.fixture
def away(tmp_path: Path, spark: SparkSession) -> Iterator[tuple[Path, list[int]]]:
    """A table that is made here, and the batches that were read from it."""
    table = tmp_path / "table"
    spark.range(3).write.parquet(str(table))
    yield table, []


def test_what_a_follower_reads_may_be_away_when_it_is_started_again(
    spark: SparkSession, away: tuple[Path, list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers, "_PAUSES", (0.05,))
    table, batches = away
    elsewhere = tmp_path / "elsewhere"
    told: list[str | None] = []

    def take(rows: DataFrame, batch: int) -> None:
        if not batches:
            table.rename(elsewhere)
            batches.append(batch)
            raise OSError("the store does not answer")
        batches.append(rows.count())

    def begin() -> StreamingQuery:
        stream = spark.readStream.schema("id long").parquet(str(table))
        kept = str(tmp_path / "checkpoint")
        return stream.writeStream.foreachBatch(take).option("checkpointLocation", kept).start()

    def tended() -> bool:
        running.tend()
        return len(told) >= 3

    def caught_up() -> bool:
        running.tend()
        return batches[1:] == [3]

    running = Followers({"samples": begin}, lambda name, why: told.append(why))
    try:
        running.start()
        assert comes_true(tended, 60)
        assert "the store does not answer" in str(told[0])
        assert all(why and str(table) in why for why in told[1:]), "it was not noted that it cannot begin"
        elsewhere.rename(table)
        assert comes_true(caught_up, 60)
        assert told[-1] is None
    finally:
        running.stop()
