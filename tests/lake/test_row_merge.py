"""Columns and rows merged into tables without Spark: alone, and by two writers at once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from conf.sections import Lake
from conf.settings import Settings
from lake import row_merge, row_writer
from lake.table import Table
from lake.table_files import TableFiles

_COLUMNS = ("image_id", "label", "label_source", "cluster", "label_quality")


@pytest.fixture
def own(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"lake": Lake(root=str(tmp_path / "lake"))})


def add(own: Settings, *image_ids: str, **values: Any) -> None:
    row_writer.append(
        own, Table.SAMPLES, *({"image_id": each, "label": "cat"} | values for each in image_ids)
    )


def samples(own: Settings) -> dict[str, dict[str, Any]]:
    return {row["image_id"]: row for row in row_writer.read(own, Table.SAMPLES, _COLUMNS)}


def version(own: Settings) -> int:
    return DeltaTable(own.lake.at(Table.SAMPLES)).version()


def test_columns_that_a_row_lacks_stay_as_they_are(own: Settings) -> None:
    assert row_merge.amend(own, Table.SAMPLES, "image_id", [{"image_id": "a", "label": "dog"}]) == 0
    add(own, "a", "b", "c", cluster="old")
    rows: list[dict[str, object]] = [
        {"image_id": "a", "cluster": None},
        {"image_id": "b", "label_quality": 0.5},
        {"image_id": "unknown", "cluster": "new"},
    ]
    assert row_merge.amend(own, Table.SAMPLES, "image_id", rows) == 2
    found = samples(own)
    assert {each: row["cluster"] for each, row in found.items()} == {"a": None, "b": "old", "c": "old"}
    assert {each: row["label_quality"] for each, row in found.items()} == {"a": None, "b": 0.5, "c": None}


def test_rows_that_are_equal_already_are_not_rewritten(own: Settings) -> None:
    add(own, "a", cluster="same")
    files = DeltaTable(own.lake.at(Table.SAMPLES)).file_uris()
    assert row_merge.amend(own, Table.SAMPLES, "image_id", [{"image_id": "a", "cluster": "same"}]) == 0
    assert row_merge.amend(own, Table.SAMPLES, "image_id", []) == 0
    assert DeltaTable(own.lake.at(Table.SAMPLES)).file_uris() == files


def test_a_condition_protects_a_column_of_the_existing_row(own: Settings) -> None:
    add(own, "a")
    add(own, "b", label_source="corrected", label_quality=1.0)
    rows = [{"image_id": each, "label_quality": 0.25, "cluster": "x"} for each in ("a", "b")]
    conditions = {"label_quality": "coalesce(old.label_source, 'claimed') = 'claimed'"}
    assert row_merge.amend(own, Table.SAMPLES, "image_id", rows, conditions) == 2
    assert [row["label_quality"] for _, row in sorted(samples(own).items())] == [0.25, 1.0]
    assert {row["cluster"] for row in samples(own).values()} == {"x"}


def test_rows_are_inserted_or_replaced(own: Settings) -> None:
    row_writer.append(own, Table.GROUPS, {"image_id": "a", "group_id": "g-1", "score": 0.9})
    rows = [{"image_id": "a", "group_id": "g-2"}, {"image_id": "b", "group_id": "g-2"}]
    row_merge.upsert(own, Table.GROUPS, "image_id", rows)
    row_merge.upsert(own, Table.GROUPS, "image_id", rows)
    found = row_writer.read(own, Table.GROUPS, ["image_id", "group_id", "score"])
    assert sorted(found, key=lambda row: row["image_id"]) == [row | {"score": None} for row in rows]


def test_two_writers_at_once_lose_nothing_of_each_other(own: Settings) -> None:
    ids = [f"i{number}" for number in range(8)]
    add(own, *ids)
    together = threading.Barrier(2)

    def write(column: str, value: object) -> None:
        for image_id in ids:
            together.wait(60)
            row_merge.amend(own, Table.SAMPLES, "image_id", [{"image_id": image_id, column: value}])

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(write, "cluster", "x"), pool.submit(write, "label_quality", 0.5)]:
            done.result()
    assert {(row["cluster"], row["label_quality"]) for row in samples(own).values()} == {("x", 0.5)}
    assert sorted(samples(own)) == ids and version(own) >= 2 * len(ids)


def test_rows_of_a_model_are_counted_by_statistics_and_in_mixed_files(own: Settings) -> None:
    rows = [{"image_id": str(number), "model_id": "ab"[number % 2]} for number in range(6)]
    row_writer.append(own, Table.EMBEDDINGS, *rows)
    row_writer.append(own, Table.EMBEDDINGS, {"image_id": "6", "model_id": "b"})
    files = TableFiles.newest(own, Table.EMBEDDINGS)
    assert files is not None
    assert [files.count_equal(own, "model_id", each) for each in ("a", "b", "c")] == [3, 4, 0]


def test_many_small_files_become_few_with_the_same_rows(
    own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        add(own, str(number), cluster="x")
    before = samples(own)
    few = TableFiles.newest(own, Table.SAMPLES)
    assert few is not None and not few.compact(own), "these are few"
    monkeypatch.setattr("lake.table_files.MANY_FILES", 6)
    assert few.compact(own)
    compacted = TableFiles.newest(own, Table.SAMPLES)
    assert compacted is not None and len(compacted.names) == 1 and samples(own) == before
    row_merge.amend(own, Table.SAMPLES, "image_id", [{"image_id": "3", "cluster": "y"}])
    assert samples(own)["3"]["cluster"] == "y" and len(samples(own)) == 6
