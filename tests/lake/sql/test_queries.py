"""The queries of docs/queries.md on a small lake, and what the views say about their columns."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import SparkSession

from conf.sections import Lake
from lake import tables, views
from lake.schemas import SCHEMAS
from lake.sql.comments import COLUMNS, VIEWS
from lake.table import Table
from tests.support.commands import ROOT

pytestmark = pytest.mark.services

_QUERY = re.compile(r"^### (\d+)\. (.+)\n\n```sql\n((?:.+\n)+?)```\n\nColumns: (.+)$", re.MULTILINE)
QUERIES = [
    pytest.param(sql, re.findall(r"`(\w+)`", columns.splitlines()[0]), id=f"{number} {question}")
    for number, question, sql, columns in _QUERY.findall((ROOT / "docs/queries.md").read_text())
]
_NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def _uploads() -> list[dict[str, Any]]:
    """Eight accepted uploads, of which two are of one image, and two rejected ones."""
    rows = []
    for number in range(10):
        accepted = number < 8
        rows.append(
            {
                "topic": "images", "partition": 0, "offset": number, "upload_id": f"u{number}",
                "device": f"d{number % 3}", "user": f"user-{number % 4}", "batch": f"b{number // 5}",
                "label": "cat" if number % 2 else "dog", "verdict": "accepted" if accepted else "rejected",
                "reason": None if accepted else "truncated", "image_id": f"i{min(number, 6)}",
                "bytes": 5000 + number, "format": "jpeg", "width": 640, "height": 480, "flags": [],
                "metrics": {"brightness": 90.0 + number, "sharpness": 120.0, "entropy": 7.0, "chroma": 30.0,
                            "aspect": 1.3},
                "event_time": _NOON, "ingest_time": _NOON + timedelta(seconds=number), "jpeg": b"jpeg",
            }
        )  # fmt: skip
    return rows


def _samples() -> list[dict[str, Any]]:
    rows = []
    for number in range(7):
        rows.append(
            {
                "image_id": f"i{number}", "upload_id": f"u{number}", "label": "cat" if number % 2 else "dog",
                "label_source": "claimed", "label_quality": number / 10,
                "suggested_label": "dog" if number == 1 else None,
                "duplicate_group": "g1" if number < 2 else f"g{number}", "cluster": "cat-0",
                "overall_cluster": "all-0", "cluster_distance": 0.1 * number, "outlier": number == 6,
                "split": "test" if number == 1 else "train", "flags": ["dark"] if number == 2 else [],
                "event_time": _NOON,
            }
        )  # fmt: skip
    return rows


ROWS: dict[Table, list[dict[str, Any]]] = {
    Table.UPLOADS: _uploads(),
    Table.SAMPLES: _samples(),
    Table.LABELS: [{"label": "cat", "display_name": "Cat", "accepted": 4, "ready": False}],
    Table.DATASETS: [
        {"dataset_id": "ds-1", "labels": ["cat", "dog"], "counts": {"train": 6}, "created": _NOON,
         "left_out": {"label_conflict": 1}},
    ],
    Table.MODELS: [
        {"model_id": "m-1", "dataset_id": "ds-1", "state": "ready", "metrics": {"test_accuracy": 0.9}},
    ],
    Table.CLUSTERS: [{"cluster": "all-0", "size": 7, "common_label": "dog", "common_share": 0.57}],
    Table.DECISIONS: [{"decision_id": "1", "kind": "relabel", "user": "ann", "decided": _NOON}],
    Table.DUPLICATE_PAIRS: [
        {"first": "i0", "second": "i1", "relation": "cropped", "correlation": 0.97},
    ],
    Table.WATCHES: [{"label": "cat", "user": "ann", "since": _NOON}],
}  # fmt: skip


@pytest.fixture(scope="module")
def lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(root=str(tmp_path_factory.mktemp("queries") / "lake"))
    tables.create(spark, lake)
    for table, rows in ROWS.items():
        schema = SCHEMAS[table]
        values = [{name: row.get(name) for name in schema.names} for row in rows]
        spark.createDataFrame(values, schema).write.format("delta").mode("append").save(lake.at(table))
    views.register(spark, lake)
    return lake


def test_there_are_twenty_queries_and_more() -> None:
    assert len(QUERIES) >= 20
    text = (ROOT / "docs/queries.md").read_text()
    assert len(QUERIES) == text.count("```sql"), "a query lacks its question or its columns"


@pytest.mark.parametrize(("statement", "columns"), QUERIES)
def test_a_worked_query_has_its_columns_and_an_answer(
    spark: SparkSession, lake: Lake, statement: str, columns: list[str]
) -> None:
    found = views.query(spark, statement, 50)
    assert found.columns == columns
    assert found.rows, "the small lake has an answer to each question"


def test_every_view_and_column_has_a_meaning(spark: SparkSession, lake: Lake) -> None:
    names = [*Table, "batches", "devices", "columns"]
    assert set(VIEWS) == set(COLUMNS) == set(names)
    missing = {name: set(spark.table(name).columns) ^ set(COLUMNS[name]) for name in names}
    assert {name: columns for name, columns in missing.items() if columns} == {}
    assert all(text for text in VIEWS.values())
    assert all(text for columns in COLUMNS.values() for text in columns.values())


def test_describe_shows_the_meaning_of_columns(spark: SparkSession, lake: Lake) -> None:
    rows = {row["col_name"]: row["comment"] for row in views.query(spark, "DESCRIBE samples", 99).rows}
    assert rows == COLUMNS["samples"]
    found = views.query(spark, "SELECT meaning FROM columns WHERE view = 'batches' AND column = 'quality'", 9)
    assert found.rows == [{"meaning": COLUMNS["batches"]["quality"]}]
