"""The copies of the tables: they follow appends, rewrites, purges and new columns, and hold no pixels."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from conf.settings import Settings
from lake.table import Table
from tests.web import lakes
from web.data import table_files
from web.data.mirror import Mirror


@pytest.fixture
def mirror(own: Settings, tmp_path: Path) -> Iterator[Mirror]:
    mirror = Mirror(own, tmp_path / "mirror.duckdb")
    yield mirror
    mirror.close()


def _ids(mirror: Mirror) -> list[str]:
    return [row["upload_id"] for row in mirror.rows("SELECT upload_id FROM uploads ORDER BY upload_id")]


def test_a_lake_without_tables_has_empty_copies(mirror: Mirror) -> None:
    assert mirror.refresh() == []
    assert mirror.version(Table.UPLOADS) == -1
    for table in Table:
        assert mirror.rows(f"SELECT * FROM {table}") == []


def test_copies_follow_appends(own: Settings, mirror: Mirror) -> None:
    lakes.append(own, Table.UPLOADS, map(lakes.upload_row, range(3)))
    (change,) = mirror.refresh()
    assert (change.table, change.version, len(change.files)) == (Table.UPLOADS, 0, 1)
    lakes.append(own, Table.UPLOADS, map(lakes.upload_row, range(3, 5)))
    lakes.append(own, Table.SAMPLES, map(lakes.sample_row, range(5)))

    assert {change.table for change in mirror.refresh()} == {Table.UPLOADS, Table.SAMPLES}

    assert _ids(mirror) == [f"upload-{number:06}" for number in range(5)]
    (first,) = mirror.rows("SELECT * FROM uploads WHERE upload_id = ?", ["upload-000000"])
    wanted = lakes.upload_row(0)
    assert first["event_time"] == wanted["event_time"].replace(tzinfo=None)
    assert (first["flags"], first["file_row"]) == (["dark"], 0)
    assert first["metrics"] == pytest.approx(wanted["metrics"])
    assert not {"jpeg", "thumbnail", "payload", "headers"} & set(first)
    assert mirror.refresh() == []


def test_rows_of_rewritten_files_are_replaced(own: Settings, mirror: Mirror) -> None:
    lakes.append(own, Table.UPLOADS, map(lakes.upload_row, range(4)))
    mirror.refresh()
    erased = {"verdict": "erased", "user": None, "upload_id": "hash"}
    lakes.overwrite(own, Table.UPLOADS, [lakes.upload_row(0) | erased, lakes.upload_row(1)])
    lakes.delete_old_files(own, Table.UPLOADS)

    mirror.refresh()

    assert _ids(mirror) == ["hash", "upload-000001"]
    assert mirror.rows("SELECT count(*) AS users FROM uploads WHERE user = 'user-0'") == [{"users": 0}]


def test_a_file_that_is_purged_while_it_is_read_changes_nothing(own: Settings, mirror: Mirror) -> None:
    lakes.append(own, Table.UPLOADS, map(lakes.upload_row, range(2)))
    mirror.refresh()
    lakes.append(own, Table.UPLOADS, map(lakes.upload_row, range(2, 4)))
    before = set(Path(own.lake.at(Table.UPLOADS)).glob("*.parquet"))
    newest = max(before, key=lambda path: path.stat().st_mtime_ns)
    content = newest.read_bytes()
    newest.unlink()
    with pytest.raises(OSError, match=newest.name):
        mirror.refresh()
    assert len(_ids(mirror)) == 2
    newest.write_bytes(content)
    mirror.refresh()
    assert len(_ids(mirror)) == 4


def test_columns_that_an_older_hub_did_not_write_are_null(own: Settings, mirror: Mirror) -> None:
    old = pa.table({"model_id": ["m-1"], "state": ["ready"], "of_a_newer_hub": [1]})
    write_deltalake(own.lake.at(Table.MODELS), old)
    mirror.refresh()
    (row,) = mirror.rows("SELECT * FROM models")
    assert (row["model_id"], row["code_version"]) == ("m-1", None)
    assert "of_a_newer_hub" not in row


def test_a_table_that_was_deleted_and_created_again_is_followed(own: Settings, mirror: Mirror) -> None:
    lakes.append(own, Table.UPLOADS, map(lakes.upload_row, range(3)))
    mirror.refresh()
    shutil.rmtree(own.lake.at(Table.UPLOADS))
    lakes.append(own, Table.UPLOADS, [lakes.upload_row(7)])
    for _ in range(table_files._REOPEN):
        mirror.refresh()
    assert _ids(mirror) == ["upload-000007"]


def test_a_value_is_computed_once_for_each_version(own: Settings, mirror: Mirror) -> None:
    calls: list[int] = []

    def count() -> int:
        calls.append(1)
        return int(mirror.rows("SELECT count(*) AS n FROM uploads")[0]["n"])

    assert [mirror.remember(("count",), count) for _ in range(3)] == [0, 0, 0]
    lakes.append(own, Table.UPLOADS, map(lakes.upload_row, range(3)))
    mirror.refresh()
    assert [mirror.remember(("count",), count) for _ in range(3)] == [3, 3, 3]
    assert mirror.remember(("other",), lambda: "value") == "value"
    assert len(calls) == 2
    mirror.hide("user-1", True)
    assert mirror.remember(("count",), count) == 2
