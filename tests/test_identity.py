from pathlib import Path

from streaming.identity import Position, UploadIndex


def at(offset: int, partition: int = 0) -> Position:
    return Position("images", partition, offset)


def test_the_first_position_of_an_id_wins_within_a_batch(tmp_path: Path) -> None:
    with UploadIndex(tmp_path / "index.sqlite") as index:
        claims = [("a", at(7)), ("b", at(5)), ("a", at(3)), ("a", at(9))]
        assert index.duplicates(claims) == {at(7): at(3), at(9): at(3)}


def test_an_id_of_an_earlier_batch_is_known_after_a_restart(tmp_path: Path) -> None:
    with UploadIndex(tmp_path / "index.sqlite") as index:
        index.add(1, {("images", 0): 2}, [("a", at(1))])
    with UploadIndex(tmp_path / "index.sqlite") as index:
        assert index.taken() == {("images", 0): 2}
        assert index.duplicates([("a", at(0, partition=3)), ("b", at(2))]) == {at(0, partition=3): at(1)}


def test_the_same_batch_again_finds_no_duplicate_of_itself(tmp_path: Path) -> None:
    with UploadIndex(tmp_path / "index.sqlite") as index:
        claims = [("a", at(1)), ("b", at(2))]
        for _ in range(2):
            assert index.duplicates(claims) == {}
            index.add(1, {("images", 0): 3}, claims)


def test_rejected_uploads_may_come_again(tmp_path: Path) -> None:
    """Only accepted uploads are added, so a repaired upload may use the id of a refused one."""
    with UploadIndex(tmp_path / "index.sqlite") as index:
        index.add(1, {("images", 0): 8}, [])
        assert index.duplicates([("a", at(8))]) == {}
