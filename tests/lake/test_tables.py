"""Two writers of one Delta table."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from delta.tables import DeltaTable
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as f
from pyspark.sql import types as t

from conf.sections import Lake
from conf.settings import Settings
from lake import tables
from lake.errors import StorageError
from lake.schemas import METRICS, UPLOADS
from lake.table import Table
from tests.support.waiting import wait_until

pytestmark = pytest.mark.services


def create_table(spark: SparkSession, path: Path) -> str:
    spark.createDataFrame([(1, "", "")], "id int, a string, b string").coalesce(1).write.format("delta").save(
        str(path)
    )
    return str(path)


def make_merge(spark: SparkSession, uri: str, value: Column) -> tuple[Callable[[], None], list[int]]:
    """A commit that sets `a` to a value, and the list of its attempts."""
    attempts: list[int] = []

    def merge() -> None:
        attempts.append(len(attempts) + 1)
        new = spark.range(1, 2).select(f.col("id").cast("int"), value.alias("a"))
        table = DeltaTable.forPath(spark, uri).alias("old")
        table.merge(new.alias("new"), "old.id = new.id").whenMatchedUpdate(set={"a": "new.a"}).execute()

    return merge, attempts


def test_a_merge_that_conflicts_with_another_writer_is_retried(spark: SparkSession, tmp_path: Path) -> None:
    uri, reading, go = create_table(spark, tmp_path / "table"), tmp_path / "reading", tmp_path / "go"

    @f.udf("string", useArrow=False)
    def wait_for_go(_: int) -> str:
        reading.touch()
        assert wait_until(go.exists, 60)
        return "first"

    merge, attempts = make_merge(spark, uri, wait_for_go("id"))
    slow = threading.Thread(target=tables.retry_on_conflict, args=(merge,))
    slow.start()
    try:
        assert wait_until(reading.exists, 60)
        DeltaTable.forPath(spark, uri).update(set={"b": f.lit("second")})
    finally:
        go.touch()
        slow.join(120)
    assert len(attempts) == 2
    assert spark.read.format("delta").load(uri).collect() == [(1, "first", "second")]


def test_a_merge_that_conflicts_on_every_attempt_is_an_error(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_TRIES", 3)
    uri = create_table(spark, tmp_path / "table")

    @f.udf("string", useArrow=False)
    def write_first(_: int) -> str:
        import deltalake

        deltalake.DeltaTable(uri).update(updates={"b": "'faster'"})
        return "first"

    merge, attempts = make_merge(spark, uri, write_first("id"))
    with pytest.raises(
        StorageError, match=r"3 commits in a row conflicted with those of other writers; run it again"
    ):
        tables.retry_on_conflict(merge)
    assert len(attempts) == 3


def test_create_adds_missing_columns_to_an_existing_table_and_keeps_its_rows(
    spark: SparkSession, tmp_path: Path
) -> None:
    """As on the lake of an older hub: a column is missing, and a field of a struct."""
    lake = Lake(root=str(tmp_path / "lake"))
    old = t.StructType([field for field in UPLOADS if field.name not in {"label_name", "metrics"}])
    old = old.add("metrics", t.StructType(METRICS.fields[:-1])).add("own_column", t.StringType())
    row = {"label": "cat", "metrics": {"brightness": 7.0}, "own_column": "mine"}
    spark.createDataFrame([row], old).write.format("delta").save(lake.at(Table.UPLOADS))

    tables.create(spark, lake)

    uploads = tables.read(spark, lake, Table.UPLOADS)
    assert set(UPLOADS.names) | {"own_column"} == set(uploads.columns)
    assert uploads.schema["metrics"].dataType == METRICS
    (kept,) = uploads.select(
        "label", "label_name", "metrics.brightness", "metrics.aspect", "own_column"
    ).collect()
    assert tuple(kept) == ("cat", None, 7.0, None, "mine")
    versions = {table: tables.version(spark, lake, table) for table in Table}
    assert versions[Table.UPLOADS] == 1
    tables.create(spark, lake)
    assert {table: tables.version(spark, lake, table) for table in Table} == versions, "nothing was missing"


def test_an_update_sets_the_given_columns_of_known_rows_and_rewrites_no_equal_ones(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    lake = settings.lake.model_copy(update={"root": str(tmp_path)})
    tables.create(spark, lake)
    tables.upsert(
        spark,
        lake,
        Table.LABELS,
        [{"label": "cat", "accepted": 3, "ready": False}, {"label": "dog", "accepted": 4, "ready": False}],
        "label",
    )
    new = spark.createDataFrame([("cat", True), ("dog", False), ("owl", True)], "label string, ready boolean")
    tables.update(spark, lake, Table.LABELS, new, "label")
    rows = tables.read(spark, lake, Table.LABELS).orderBy("label").collect()
    assert [(row.label, row.accepted, row.ready) for row in rows] == [("cat", 3, True), ("dog", 4, False)]
    version = DeltaTable.forPath(spark, lake.at(Table.LABELS)).history(1).collect()[0]
    assert version.operationMetrics["numTargetRowsUpdated"] == "1"
