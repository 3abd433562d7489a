"""The index of embeddings on real Delta tables, written without Spark."""

import hashlib
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from conf.sections import Lake
from conf.settings import Settings
from lake.table import Table
from organize.duplicates.stage import cosines_of
from organize.errors import UnusableVectors
from organize.features.vectors import Vectors, to_column, to_unit
from organize.index import compaction
from organize.index.manifest import FILE, Manifest
from organize.index.vector_index import VectorIndex

MODEL, SIZE = "net-128", 16


@pytest.fixture
def own(settings: Settings, tmp_path: Path) -> Settings:
    organize = settings.organize.model_copy(update={"index_dir": tmp_path / "vectors"})
    return settings.model_copy(update={"lake": Lake(root=str(tmp_path / "lake")), "organize": organize})


def image_id(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def vectors_of(numbers: Iterable[int], size: int = SIZE) -> Vectors:
    rows = [np.random.default_rng(number).normal(size=size) for number in numbers]
    return to_unit(np.array(rows, np.float32))


def add(own: Settings, numbers: Iterable[int], model: str = MODEL, size: int = SIZE) -> None:
    numbers = list(numbers)
    rows = pa.table(
        {
            "image_id": [image_id(number) for number in numbers],
            "model_id": [model] * len(numbers),
            "vector": to_column(vectors_of(numbers, size)),
            "created": pa.array([datetime.now(UTC)] * len(numbers), pa.timestamp("us", "UTC")),
        }
    )
    write_deltalake(own.lake.at(Table.EMBEDDINGS), rows, mode="append")


def table(own: Settings) -> DeltaTable:
    return DeltaTable(own.lake.at(Table.EMBEDDINGS))


def nearest(own: Settings, number: int, reports: list[str] | None = None) -> str:
    """The nearest image of a vector, which is itself if it is in the index."""
    index = VectorIndex.open(None, own, MODEL, ([] if reports is None else reports).append)
    ids, cosines = index.search(vectors_of([number]), 3)
    assert ids.shape == cosines.shape == (1, 3)
    assert list(cosines[0]) == sorted(cosines[0], reverse=True)
    return str(ids[0, 0])


def test_the_nearest_images_are_those_of_an_exact_search(own: Settings) -> None:
    add(own, range(60))
    add(own, range(60, 100))
    index = VectorIndex.open(None, own, MODEL)
    queries = vectors_of(range(90, 110))
    ids, cosines = index.search(queries * 7, 5)  # their lengths do not matter
    expected = queries @ vectors_of(range(100)).T
    order = np.argsort(-expected, axis=1)[:, :5]
    assert ids.tolist() == [[image_id(number) for number in row] for row in order]
    np.testing.assert_allclose(cosines, np.take_along_axis(expected, order, 1), atol=2e-3)
    found, vectors = index.vectors_of([image_id(99), image_id(3), image_id(1000)])
    assert sorted(found) == sorted([image_id(3), image_id(99)])
    np.testing.assert_allclose(vectors[found.index(image_id(3))], vectors_of([3])[0], atol=1e-3)


def test_an_index_without_a_table_or_rows_finds_nothing(own: Settings) -> None:
    for _ in range(2):
        index = VectorIndex.open(None, own, MODEL)
        ids, cosines = index.search(vectors_of(range(2)), 4)
        assert len(index) == 0 and ids.tolist() == [[""] * 4] * 2 and (cosines == -2).all()
        add(own, range(3), model="another")


def test_fewer_images_than_asked_for_leave_empty_ids(own: Settings) -> None:
    add(own, [1])
    ids, cosines = VectorIndex.open(None, own, MODEL).search(vectors_of([1]), 2)
    assert ids.tolist() == [[image_id(1), ""]] and cosines[0, 1] == -2


def test_vectors_of_two_models_are_never_mixed(own: Settings) -> None:
    add(own, range(5))
    add(own, range(5, 9), model="wide", size=24)
    assert len(VectorIndex.open(None, own, MODEL)) == 5
    wide = VectorIndex.open(None, own, "wide")
    assert len(wide) == 4
    with pytest.raises(UnusableVectors, match="vectors of 16 numbers, but the index has 24"):
        wide.search(vectors_of([1]), 1)
    add(own, [20], size=24)
    with pytest.raises(UnusableVectors, match="vectors of 16 and of 24 numbers"):
        VectorIndex.open(None, own, MODEL)


def test_new_rows_are_found_and_an_index_that_is_up_to_date_is_not_written(own: Settings) -> None:
    add(own, range(5))
    assert nearest(own, 3) == image_id(3)
    add(own, range(5, 10))
    assert nearest(own, 8) == image_id(8)
    (manifest,) = own.organize.index_dir.rglob(FILE)
    before = manifest.stat().st_mtime_ns
    assert nearest(own, 8) == image_id(8) and manifest.stat().st_mtime_ns == before


def test_erased_images_are_gone_at_once_and_nothing_of_them_is_left(own: Settings) -> None:
    add(own, range(20))
    assert nearest(own, 7) == image_id(7)
    table(own).delete(f"image_id = '{image_id(7)}'")
    add(own, range(20, 25))
    reports: list[str] = []
    assert nearest(own, 7, reports) != image_id(7)
    assert reports == [f"the index of {MODEL} follows the table: 1 removed images"]
    assert nearest(own, 22) == image_id(22) and nearest(own, 6) == image_id(6)
    vector = vectors_of([7]).astype("<f2").tobytes()
    for file in own.organize.index_dir.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert vector not in content and image_id(7).encode() not in content, file


def test_an_index_ahead_of_a_restored_table_is_repaired(own: Settings) -> None:
    add(own, range(5))
    add(own, range(5, 10))
    assert nearest(own, 8) == image_id(8)
    backup = Path(own.lake.root) / "backup"
    log = Path(own.lake.at(Table.EMBEDDINGS)) / "_delta_log"
    backup.mkdir()
    shutil.move(log / f"{1:020}.json", backup)
    reports: list[str] = []
    assert nearest(own, 8, reports) != image_id(8)
    assert reports == [f"the index of {MODEL} was ahead of the table: 5 removed images"]
    shutil.move(backup / f"{1:020}.json", log)
    assert nearest(own, 8) == image_id(8)


def test_compacted_data_files_change_nothing(own: Settings) -> None:
    for first in range(0, 20, 5):
        add(own, range(first, first + 5))
    assert len(VectorIndex.open(None, own, MODEL)) == 20
    table(own).optimize.compact()
    reports: list[str] = []
    assert nearest(own, 13, reports) == image_id(13) and reports == []
    assert len(VectorIndex.open(None, own, MODEL)) == 20


@pytest.mark.parametrize("damage", ["manifest", "vectors", "ids"])
def test_a_damaged_index_is_made_again(own: Settings, damage: str) -> None:
    add(own, range(9))
    assert nearest(own, 8) == image_id(8)
    (manifest,) = own.organize.index_dir.rglob(FILE)
    if damage == "manifest":
        manifest.write_text(manifest.read_text()[:40])
    else:
        (file,) = manifest.parent.glob(f"*.{damage}")
        file.write_bytes(file.read_bytes()[:-1])
    reports: list[str] = []
    assert nearest(own, 8, reports) == image_id(8)
    assert reports == [f"the index in {manifest.parent} is damaged: it is made again"]


def test_rows_of_an_interrupted_update_are_written_again(own: Settings) -> None:
    add(own, range(5))
    nearest(own, 1)
    (folder,) = {file.parent for file in own.organize.index_dir.rglob(FILE)}
    for suffix in ("vectors", "ids"):  # appended, but not in the manifest yet
        with (folder / f"000000.{suffix}").open("ab") as file:
            file.write(b"x" * 37)
    (folder / "000007.vectors").write_bytes(b"left")
    add(own, range(5, 10))
    assert [nearest(own, number) for number in range(10)] == [image_id(number) for number in range(10)]
    assert not (folder / "000007.vectors").exists()


def test_sealed_segments_are_merged_and_searched_as_exactly(
    own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "SEAL_ROWS", 150)
    sizes = []
    for first in range(0, 700, 100):
        add(own, range(first, first + 100))
        VectorIndex.open(None, own, MODEL)
        (file,) = own.organize.index_dir.rglob(FILE)
        manifest = Manifest.read(file.parent)
        assert manifest is not None
        sizes.append([(entry.rows, entry.sealed) for entry in manifest.segments])
    assert sizes[:4] == [[(100, False)], [(200, True)], [(200, True), (100, False)], [(400, True)]]
    assert sizes[4:] == [
        [(400, True), (100, False)], [(400, True), (200, True)], [(400, True), (200, True), (100, False)]
    ]  # fmt: skip
    index = VectorIndex.open(None, own, MODEL)
    queries = vectors_of(range(650, 750))
    ids, cosines = index.search(queries, 5)
    expected = np.argsort(-queries @ vectors_of(range(700)).T, axis=1)[:, :5]
    found = [
        len({image_id(number) for number in row} & set(own_row))
        for row, own_row in zip(expected, ids.tolist(), strict=True)
    ]
    assert sum(found) / (5 * len(found)) >= 0.99
    assert ids[0, 0] == image_id(650) and cosines[0, 0] == pytest.approx(1, abs=1e-3)

    table(own).delete(f"image_id IN ('{image_id(50)}', '{image_id(450)}', '{image_id(699)}')")
    gone = [50, 450, 699]
    ids, _ = VectorIndex.open(None, own, MODEL).search(vectors_of(gone), 3)
    assert not {image_id(number) for number in gone} & set(ids.ravel().tolist())
    assert "" not in ids.ravel().tolist()
    add(own, range(700, 800))  # the merge leaves the removed rows out
    assert len(VectorIndex.open(None, own, MODEL)) == 797
    assert len(list(file.parent.glob("*.vectors"))) == 1


def test_cosines_of_pairs_are_those_of_the_stored_vectors(own: Settings) -> None:
    add(own, range(4))
    before = cosines_of(VectorIndex.open(None, own, MODEL), [(image_id(0), image_id(1))])
    add(own, range(4, 40))
    pairs = [(image_id(0), image_id(1)), (image_id(30), image_id(2)), (image_id(0), image_id(99))]
    found = cosines_of(VectorIndex.open(None, own, MODEL), pairs)
    assert set(found) == set(pairs[:2]), "an image without an embedding has no cosine"
    stored = vectors_of(range(40))
    assert found[pairs[1]] == pytest.approx(float(stored[30] @ stored[2]), abs=2e-3)
    assert found[pairs[0]] == before[pairs[0]], "whatever came later"
    assert cosines_of(VectorIndex.open(None, own, "other"), pairs) == {}
