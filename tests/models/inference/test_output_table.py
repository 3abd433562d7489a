"""The table that a batch inference writes: whole or not at all, and an old one stays until then."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from conf.errors import UsageError
from lake.errors import JobFailed, StorageError
from lake.job_failures import job_errors
from models.inference.output_table import OutputTable

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.services


def rows(spark: "SparkSession", failing: bool = False) -> "DataFrame":
    """Three rows in two tasks; the second task may fail, after the first one has written its file."""

    def label(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if failing and batch["id"][0].as_py():
                raise ValueError("no disk")
            yield pa.RecordBatch.from_pydict({"image_id": [f"new-{n}" for n in batch["id"].to_pylist()]})

    return spark.range(0, 3, 1, 2).mapInArrow(label, "image_id string")


def write_old(spark: "SparkSession", target: Path) -> None:
    old = spark.createDataFrame([("old", 1)], "image_id string, other int").coalesce(1)
    if target.name == "file.parquet":
        old.toPandas().to_parquet(target)
    else:
        old.write.format("parquet" if target.suffix else "delta").save(str(target))


def ids(spark: "SparkSession", target: Path) -> set[str]:
    found = spark.read.format("parquet" if target.suffix else "delta").load(str(target))
    return {row.image_id for row in found.collect()}


def replace(spark: "SparkSession", target: Path, failing: bool = False) -> None:
    table = OutputTable(spark, str(target))
    table.refuse_existing(replace=True)
    with job_errors("cannot write"):
        table.write(rows(spark, failing))


def visible(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir() if not file.name.startswith(".")]


@pytest.mark.parametrize("name", ["new", "new.parquet"])
def test_a_failure_leaves_nothing_that_blocks_the_next_run(
    spark: "SparkSession", tmp_path: Path, name: str
) -> None:
    target = tmp_path / name
    with pytest.raises(JobFailed, match="cannot write: ValueError: no disk"):
        replace(spark, target, failing=True)
    assert visible(tmp_path) == []
    table = OutputTable(spark, str(target))
    table.refuse_existing(replace=False)
    table.write(rows(spark))
    assert ids(spark, target) == {"new-0", "new-1", "new-2"} and visible(tmp_path) == [name]
    with pytest.raises(UsageError, match="exists already: --replace"):
        table.refuse_existing(replace=False)


@pytest.mark.parametrize("name", ["table", "table.parquet", "file.parquet"])
def test_an_old_table_stays_until_the_new_one_is_complete(
    spark: "SparkSession", tmp_path: Path, name: str
) -> None:
    target = tmp_path / name
    write_old(spark, target)
    with pytest.raises(JobFailed):
        replace(spark, target, failing=True)
    assert ids(spark, target) == {"old"} and visible(tmp_path) == [name]
    replace(spark, target)
    assert ids(spark, target) == {"new-0", "new-1", "new-2"} and visible(tmp_path) == [name]


def test_a_delta_table_keeps_its_history(spark: "SparkSession", tmp_path: Path) -> None:
    target = tmp_path / "table"
    write_old(spark, target)
    replace(spark, target)
    before = spark.read.format("delta").option("versionAsOf", 0).load(str(target))
    assert [row.image_id for row in before.collect()] == ["old"]


def test_an_old_table_comes_back_if_the_new_one_cannot_take_its_place(
    spark: "SparkSession", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "table.parquet"
    write_old(spark, target)
    rename: Callable[..., bool] = OutputTable._rename

    def fail_once(table: OutputTable, source: str, to: str, must_exist: bool = False) -> bool:
        if must_exist:
            raise KeyboardInterrupt
        return rename(table, source, to)

    monkeypatch.setattr(OutputTable, "_rename", fail_once)
    with pytest.raises(KeyboardInterrupt):
        replace(spark, target)
    assert ids(spark, target) == {"old"} and visible(tmp_path) == [target.name]


def test_what_is_no_table_is_never_replaced(spark: "SparkSession", tmp_path: Path) -> None:
    for name, file in (
        ("holiday", "beach.jpg"),
        ("notes.parquet", "notes.txt"),
        ("notes.parquet", "a.parquet"),
    ):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / file).write_text("dear")
    for name in ("holiday", "notes.parquet"):
        with pytest.raises(UsageError, match="is no table, so --replace leaves it"):
            OutputTable(spark, str(tmp_path / name)).refuse_existing(replace=True)


def test_a_place_that_cannot_be_read_is_an_error(spark: "SparkSession") -> None:
    with pytest.raises(StorageError, match="cannot write nowhere://a/b: "):
        OutputTable(spark, "nowhere://a/b").refuse_existing(replace=True)
