import sqlite3
from pathlib import Path

import pytest

from lake.erasure.erased_ids import digest
from streaming.ledger.upload_index import AcceptedUploads, Position, UploadIndex


def at(offset: int, partition: int = 0) -> Position:
    return Position("images", partition, offset)


def accepted(*uploads: tuple[str, Position]) -> AcceptedUploads:
    topics, partitions, offsets = (
        list(column) for column in zip(*(position for _, position in uploads), strict=True)
    )
    return AcceptedUploads([digest(upload_id) for upload_id, _ in uploads], topics, partitions, offsets)


def test_the_first_position_of_an_id_wins_within_a_batch(tmp_path: Path) -> None:
    with UploadIndex(tmp_path / "index.sqlite") as index:
        again = accepted(("a", at(7)), ("b", at(5)), ("a", at(3)), ("a", at(9)))
        assert index.find_duplicates(again) == {at(7): at(3), at(9): at(3)}


def test_an_id_of_an_earlier_batch_is_known_after_a_restart(tmp_path: Path) -> None:
    with UploadIndex(tmp_path / "index.sqlite") as index:
        index.add(1, {("images", 0): 2}, accepted(("a", at(1))))
    with UploadIndex(tmp_path / "index.sqlite") as index:
        assert index.next_offsets() == {("images", 0): 2}
        found = index.find_duplicates(accepted(("a", at(0, partition=3)), ("b", at(2))))
        assert found == {at(0, partition=3): at(1)}


def test_the_same_batch_again_finds_no_duplicate_of_itself(tmp_path: Path) -> None:
    with UploadIndex(tmp_path / "index.sqlite") as index:
        batch = accepted(("a", at(1)), ("b", at(2)))
        for _ in range(2):
            assert index.find_duplicates(batch) == {}
            index.add_in_background(1, {("images", 0): 3}, batch)


def test_accepted_uploads_without_duplicates() -> None:
    batch = accepted(("a", at(1)), ("b", at(2)), ("a", at(3, partition=1)))
    rows = list(batch)
    assert [Position(*row[1:]) for row in rows] == [at(1), at(2), at(3, partition=1)]
    assert list(batch.without({at(3, partition=1): at(1)})) == rows[:2]


def test_id_of_a_rejected_upload_may_be_used_again(tmp_path: Path) -> None:
    """Only accepted uploads are added, so a repaired upload may reuse the id of a rejected one."""
    with UploadIndex(tmp_path / "index.sqlite") as index:
        index.add(1, {("images", 0): 8}, [])
        assert index.find_duplicates(accepted(("a", at(8)))) == {}


def test_all_of_many_ids_are_looked_up(tmp_path: Path) -> None:
    """More ids than one SQL query has."""
    with UploadIndex(tmp_path / "index.sqlite") as index:
        many = [(str(number), at(number)) for number in range(10_000)]
        index.add(1, {("images", 0): 10_000}, accepted(*many))
        again = [(str(number), at(20_000 + number)) for number in (0, 4_095, 4_096, 9_999, 10_000)]
        duplicates = index.find_duplicates(accepted(*many, *again))
        assert duplicates == {at(20_000 + number): at(number) for number in (0, 4_095, 4_096, 9_999)}


def test_background_add_is_visible_to_the_next_call(tmp_path: Path) -> None:
    file = tmp_path / "index.sqlite"
    with UploadIndex(file) as index:
        for number in range(20):
            found = index.find_duplicates(accepted(("a", at(number))))
            assert found == ({at(number): at(0)} if number else {})
            index.add_in_background(number, {("images", 0): number + 1}, accepted(("a", at(number))))
    with UploadIndex(file) as index:
        assert (index.version(), index.next_offsets()) == (19, {("images", 0): 20})


def test_error_of_a_background_add_is_raised_by_the_next_call(tmp_path: Path) -> None:
    with UploadIndex(tmp_path / "index.sqlite") as index:
        index.add_in_background(1, {("images", 0): 1}, accepted(("a", at(2**64))))
        with pytest.raises(OverflowError):
            index.find_duplicates(accepted(("b", at(1))))
        assert index.version() == -1, "the transaction was not rolled back"


@pytest.mark.parametrize(
    "content", [b"no database at all, but long enough to be one" * 100, b"SQLite format 3\0" * 64]
)
def test_a_damaged_index_is_rebuilt(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "index.sqlite").write_bytes(content)
    with UploadIndex(tmp_path / "index.sqlite") as index:
        assert (index.version(), index.next_offsets()) == (-1, {})
        index.add(1, {("images", 0): 2}, accepted(("a", at(1))))
    with UploadIndex(tmp_path / "index.sqlite") as index:
        assert index.version() == 1


def test_an_index_that_is_not_writable_is_not_deleted(tmp_path: Path) -> None:
    (tmp_path / "index.sqlite").mkdir()
    with pytest.raises(sqlite3.OperationalError):
        UploadIndex(tmp_path / "index.sqlite")
    assert (tmp_path / "index.sqlite").is_dir()
