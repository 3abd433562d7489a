"""Failed followers are restarted."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from streaming.follow import follower_supervisor
from streaming.follow.follower_supervisor import FollowerSupervisor
from tests.support.waiting import wait_until

pytestmark = pytest.mark.services


@pytest.fixture
def source(tmp_path: Path, spark: SparkSession) -> Iterator[tuple[Path, list[int]]]:
    """A table, and a list for the sizes of the batches that were read from it."""
    table = tmp_path / "table"
    spark.range(3).write.parquet(str(table))
    yield table, []


def test_a_restart_is_retried_while_the_follower_s_table_is_unavailable(
    spark: SparkSession, source: tuple[Path, list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_supervisor, "_PAUSES", (0.05,))
    table, batches = source
    elsewhere = tmp_path / "elsewhere"
    failures: list[str | None] = []

    def write(rows: DataFrame, batch: int) -> None:
        if not batches:
            table.rename(elsewhere)
            batches.append(batch)
            raise OSError("the store does not answer")
        batches.append(rows.count())

    def start() -> StreamingQuery:
        stream = spark.readStream.schema("id long").parquet(str(table))
        checkpoint = str(tmp_path / "checkpoint")
        return stream.writeStream.foreachBatch(write).option("checkpointLocation", checkpoint).start()

    def has_failed_three_times() -> bool:
        supervisor.restart_failed()
        return len(failures) >= 3

    def has_caught_up() -> bool:
        supervisor.restart_failed()
        return batches[1:] == [3]

    supervisor = FollowerSupervisor({"samples": start}, lambda name, why: failures.append(why))
    try:
        supervisor.start()
        assert wait_until(has_failed_three_times, 60)
        assert "the store does not answer" in str(failures[0])
        assert all(why and str(table) in why for why in failures[1:]), "a failed restart was not reported"
        elsewhere.rename(table)
        assert wait_until(has_caught_up, 60)
        assert failures[-1] is None
    finally:
        supervisor.stop()
