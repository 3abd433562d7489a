"""Two writers of one Delta table."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from delta.tables import DeltaTable
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as f

from lake import tables
from lake.errors import StorageError
from tests.support.waiting import comes_true

pytestmark = pytest.mark.services


def made(spark: SparkSession, path: Path) -> str:
    spark.createDataFrame([(1, "", "")], "id int, a string, b string").coalesce(1).write.format("delta").save(
        str(path)
    )
    return str(path)


def merging(spark: SparkSession, place: str, value: Column) -> tuple[Callable[[], None], list[int]]:
    """A commit that sets `a` to a value, and its attempts so far."""
    attempts: list[int] = []

    def merged() -> None:
        attempts.append(len(attempts) + 1)
        new = spark.range(1, 2).select(f.col("id").cast("int"), value.alias("a"))
        table = DeltaTable.forPath(spark, place).alias("old")
        table.merge(new.alias("new"), "old.id = new.id").whenMatchedUpdate(set={"a": "new.a"}).execute()

    return merged, attempts


def test_a_merge_that_another_writer_overtook_is_done_again(spark: SparkSession, tmp_path: Path) -> None:
    place, reading, go = made(spark, tmp_path / "table"), tmp_path / "reading", tmp_path / "go"

    @f.udf("string", useArrow=False)
    def slowly(_: int) -> str:
        reading.touch()
        assert comes_true(go.exists, 60)
        return "first"

    merged, attempts = merging(spark, place, slowly("id"))
    slow = threading.Thread(target=tables.retried, args=(merged,))
    slow.start()
    try:
        assert comes_true(reading.exists, 60)
        DeltaTable.forPath(spark, place).update(set={"b": f.lit("second")})
    finally:
        go.touch()
        slow.join(120)
    assert len(attempts) == 2
    assert spark.read.format("delta").load(place).collect() == [(1, "first", "second")]


def test_who_is_overtaken_every_time_is_told(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_TRIES", 3)
    place = made(spark, tmp_path / "table")

    @f.udf("string", useArrow=False)
    def overtaken(_: int) -> str:
        import deltalake

        deltalake.DeltaTable(place).update(updates={"b": "'faster'"})
        return "first"

    merged, attempts = merging(spark, place, overtaken("id"))
    with pytest.raises(StorageError, match=r"others wrote the table first, 3 times in a row; run it again"):
        tables.retried(merged)
    assert len(attempts) == 3
