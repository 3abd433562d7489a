"""SQL statements on the views, on DataFrames made here."""

from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from conf.sections import Lake
from lake import tables, views
from lake.errors import BadQuery, LakeError
from lake.schemas import LABEL_CONFLICT, SCHEMAS
from lake.table import Table
from tests.support.machines import local_time

pytestmark = pytest.mark.services


def test_columns_of_the_same_name_are_numbered(spark: SparkSession) -> None:
    found = views.query(
        spark, "SELECT 1 AS label, 2 AS label, 3 AS label_2, 4 AS label, 5 AS `a.b`, 6 AS LABEL", 9
    )
    assert found.columns == ["label", "label_3", "label_2", "label_4", "a.b", "LABEL"]
    assert found.rows == [{"label": 1, "label_3": 2, "label_2": 3, "label_4": 4, "a.b": 5, "LABEL": 6}]


def test_rows_keep_their_order_and_a_cut_result_says_so(spark: SparkSession) -> None:
    found = views.query(spark, "SELECT id, -id FROM range(0, 100, 1, 4) ORDER BY 2", 3)
    assert found.rows == [{"id": id, "(- id)": -id} for id in (99, 98, 97)] and found.truncated
    assert not views.query(spark, "SELECT 1", 1).truncated


def test_nested_bytes_are_replaced_by_their_size_on_the_executors(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected: list[Any] = []
    frame_class = type(spark.range(1))
    collect = frame_class.collect

    def recording_collect(frame: Any) -> list[Any]:
        collected.extend(collect(frame))
        return collected

    monkeypatch.setattr(frame_class, "collect", recording_collect)
    picture = "CAST(repeat('x', 1234) AS BINARY)"
    header = f"named_struct('key', 'k', 'value', {picture})"
    statement = (
        f"SELECT {picture} AS jpeg, array({header}, NULL) AS headers, map('m', {picture}) AS parts, "
        "CAST(NULL AS BINARY) AS payload, 'text' AS label"
    )
    found = views.query(spark, statement, 1)
    size = "<1,234 bytes>"
    assert found.rows == [
        {
            "jpeg": size,
            "headers": [{"key": "k", "value": size}, None],
            "parts": {"m": size},
            "payload": None,
            "label": "text",
        }
    ]
    assert len(collected) == 1 and "xxx" not in repr(collected)


def test_times_are_shown_in_utc_and_say_so(spark: SparkSession) -> None:
    at = "timestamp'2026-11-22 12:35:57.250 UTC'"
    statement = (
        f"SELECT {at} AS time, array({at}, NULL) AS times, map({at}, {at}) AS by_time, "
        f"named_struct('at', {at}) AS inside, CAST({at} AS TIMESTAMP_NTZ) AS without_zone, "
        f"date_format({at}, 'HH:mm') AS said, timestamp'-0043-03-15 09:00:00 UTC' AS bc"
    )
    shown = "2026-11-22 12:35:57.25Z"
    with local_time("Asia/Kolkata"):
        (row,) = views.query(spark, statement, 1).rows
    assert row == {
        "time": shown,
        "times": [shown, None],
        "by_time": {shown: shown},
        "inside": {"at": shown},
        "without_zone": "2026-11-22 12:35:57.250000",
        "said": "12:35",
        "bc": "-0043-03-15 09:00:00Z",
    }


def test_views_show_what_was_written_after_they_were_made(spark: SparkSession, tmp_path: Path) -> None:
    """A prompt stays open while an ingestion goes on."""
    lake = Lake(root=str(tmp_path))
    tables.create(spark, lake)
    views.register(spark, lake)
    count = "SELECT count(*) AS n FROM labels"
    assert views.query(spark, count, 1).rows == [{"n": 0}]
    tables.upsert(spark, lake, Table.LABELS, [{"label": "cat"}], "label")
    assert views.query(spark, count, 1).rows == [{"n": 1}]


def test_names_for_completion_are_views_columns_and_fields(spark: SparkSession, tmp_path: Path) -> None:
    lake = Lake(root=str(tmp_path))
    tables.create(spark, lake)
    views.register(spark, lake)
    assert {"uploads", "batches", "image_id", "metrics", "brightness"} <= views.names(spark)


def test_tables_and_columns_that_the_next_ingestion_creates_are_empty_in_the_views(
    spark: SparkSession, tmp_path: Path
) -> None:
    """A lake of an older hub: only the ledger exists, and lacks columns at both levels."""
    lake = Lake(root=str(tmp_path))
    old = "named_struct('brightness', 1f) AS metrics, 'cat' AS label, 'accepted' AS verdict"
    spark.sql(f"SELECT {old}").write.format("delta").save(lake.at(Table.UPLOADS))
    views.register(spark, lake)
    for table in Table:
        assert spark.table(table).columns == SCHEMAS[table].names, table
        assert table is Table.UPLOADS or spark.table(table).count() == 0
    (row,) = views.query(spark, "SELECT label, reason, metrics.*, kafka_time FROM uploads", 5).rows
    assert (row["label"], row["reason"], row["brightness"], row["entropy"]) == ("cat", None, 1.0, None)
    joined = "SELECT count(*) AS n FROM models JOIN datasets USING (dataset_id)"
    assert views.query(spark, joined, 5).rows == [{"n": 0}]


def test_a_statement_that_fails_while_it_runs_is_one_line(spark: SparkSession, tmp_path: Path) -> None:
    file = tmp_path / "pictures"
    spark.range(3).write.parquet(str(file))
    spark.read.parquet(str(file)).createOrReplaceTempView("gone")
    for part in file.glob("*.parquet"):
        part.unlink()
    try:
        with pytest.raises(BadQuery) as raised:
            views.query(spark, "SELECT * FROM gone", 5)
    finally:
        spark.catalog.dropTempView("gone")
    assert "\n" not in str(raised.value)


def test_labels_are_trainable_by_the_images_that_datasets_may_contain(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    usable, flagged, both = "array()", "array('blurred')", f"array('{LABEL_CONFLICT}')"
    flags = {"cat": [usable] * 3, "dog": [usable, flagged, both], "owl": [both] * 3}
    samples = [f"('{label}', {of_image})" for label, images in flags.items() for of_image in images]
    uploads = [f"('b', '{label}', 'accepted')" for label in flags]
    frames = {
        Table.UPLOADS: spark.sql(f"SELECT * FROM VALUES {', '.join(uploads)} AS t(batch, label, verdict)"),
        Table.SAMPLES: spark.sql(f"SELECT * FROM VALUES {', '.join(samples)} AS t(label, flags)"),
    }
    monkeypatch.setattr(tables, "read", lambda spark, lake, table: frames[table])
    lake = Lake(root="/nowhere")
    assert views.trainable_labels(spark, lake, "b", 2) == ["cat", "dog"]
    with pytest.raises(LakeError, match=r"batch b has 1 label\(s\) with 3 images or more"):
        views.trainable_labels(spark, lake, "b", 3)
