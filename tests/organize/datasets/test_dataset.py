"""Datasets from samples, on real Delta tables: splits, shards, ids, the table `datasets`."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as f

from conf.sections import Lake
from conf.settings import Settings
from lake import tables
from lake.errors import DamagedSnapshot, NothingToOrganize
from lake.snapshot import MANIFEST, DatasetSnapshot, Split
from lake.storage import Storage
from lake.table import Table
from organize.datasets import dataset as organizing
from organize.datasets.dataset import OrganizedDataset, organize
from organize.duplicates.perceptual_hash import near_pairs
from tests.support import pictures

pytestmark = pytest.mark.services

# 300 images of three labels; every tenth has a neighbour whose pHash differs in one bit.
_PER_LABEL = 100


@pytest.fixture(scope="module")
def own(settings: Settings, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    lake = Lake(root=str(tmp_path_factory.mktemp("organize") / "lake"))
    plan = settings.organize.model_copy(update={"shard_rows": 32, "row_group_rows": 8})
    own = settings.model_copy(update={"lake": lake, "organize": plan})
    tables.create(spark, lake)
    _fill(spark, own)
    return own


def _fill(spark: SparkSession, own: Settings) -> None:
    names = ["image_id", "upload_id", "label", "phash", "jpeg"]
    rows = []
    for number in range(3 * _PER_LABEL):
        spread = int.from_bytes(
            hashlib.sha256(str(number // 10 * 10).encode()).digest()[:8], "big", signed=True
        )
        phash = spread ^ (number % 10 == 1) if number % 10 < 2 else _distant_hash(number)
        label = ("cat", "dog", "owl")[number // _PER_LABEL]
        rows.append((f"{number:064x}", f"u{number}", label, phash, pictures.jpeg(40, 40, number)))
    rows.append((f"{999:064x}", "u999", "yak", 12345, pictures.jpeg(40, 40, 999)))
    frame = spark.createDataFrame(
        rows, "image_id string, upload_id string, label string, phash long, jpeg binary"
    )
    uploads = frame.selectExpr(*names, "'accepted' AS verdict", "array() AS flags", "0L AS ingest_batch")
    uploads = uploads.selectExpr("* EXCEPT (flags)", "CAST(flags AS array<string>) AS flags")
    uploads.write.format("delta").mode("append").save(own.lake.at(Table.UPLOADS))
    samples = uploads.select("image_id", "upload_id", "label", "phash", "flags")
    samples.write.format("delta").mode("append").save(own.lake.at(Table.SAMPLES))


def _distant_hash(number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"apart {number}".encode()).digest()[:8], "big", signed=True)


@pytest.fixture(scope="module")
def organized(spark: SparkSession, own: Settings) -> Iterator[OrganizedDataset]:
    yield organize(spark, own)


def rows_of(snapshot: DatasetSnapshot, split: Split) -> list[tuple[str, int]]:
    batches = snapshot.batches(split, 0, snapshot.row_count(split))
    return [(row["image_id"], row["label"]) for batch in batches for row in batch.to_pylist()]


def test_ready_labels_are_chosen_and_every_image_is_in_one_split(organized: OrganizedDataset) -> None:
    assert organized.snapshot.labels == ("cat", "dog", "owl")
    assert organized.left_out == {"label_not_chosen": 1}
    everything = [image for split in Split for image, _ in rows_of(organized.snapshot, split)]
    assert len(everything) == len(set(everything)) == 300
    for split in Split:
        for image, label in rows_of(organized.snapshot, split):
            assert label == int(image, 16) // _PER_LABEL


def test_near_duplicates_are_in_the_same_split(
    organized: OrganizedDataset, spark: SparkSession, own: Settings
) -> None:
    split_of = {image: split for split in Split for image, _ in rows_of(organized.snapshot, split)}
    pairs = [(f"{n:064x}", f"{n + 1:064x}") for n in range(0, 300, 10)]
    assert all(split_of[one] == split_of[other] for one, other in pairs)
    assert organized.groups == 300 - len(pairs)
    assert set(map(tuple, (counts.values() for counts in organized.counts.values()))) == {(80, 10, 10)}
    groups = {row.image_id: row for row in tables.read(spark, own.lake, Table.SAMPLES).collect()}
    assert all(groups[other].duplicate_group == one for one, other in pairs)
    assert all(groups[image].split == split for image, split in split_of.items())


def test_organizing_again_gives_the_same_dataset(
    organized: OrganizedDataset, spark: SparkSession, own: Settings
) -> None:
    version = tables.version(spark, own.lake, Table.SAMPLES)
    again = organize(spark, own)
    assert again.reused
    assert (again.dataset_id, again.manifest_sha256) == (organized.dataset_id, organized.manifest_sha256)
    assert tables.version(spark, own.lake, Table.SAMPLES) == version
    assert (
        tables.read(spark, own.lake, Table.DATASETS).where(f"dataset_id = '{again.dataset_id}'").count() == 1
    )


def test_a_rewritten_dataset_has_the_same_bytes(
    organized: OrganizedDataset, spark: SparkSession, own: Settings
) -> None:
    """After a crash before the manifest is written, the folder exists without a manifest."""
    storage = organized.snapshot.storage
    Path(storage.root, MANIFEST).unlink()
    again = organize(spark, own)
    assert not again.reused
    assert again.manifest_sha256 == organized.manifest_sha256
    assert again.snapshot.shards == organized.snapshot.shards


def test_another_seed_is_another_dataset(
    organized: OrganizedDataset, spark: SparkSession, own: Settings
) -> None:
    plan = own.organize.model_copy(update={"seed": 8})
    other = organize(spark, own.model_copy(update={"organize": plan}))
    assert other.dataset_id != organized.dataset_id
    ours, theirs = rows_of(other.snapshot, Split.TEST), rows_of(organized.snapshot, Split.TEST)
    assert ours != theirs, "another order"
    assert sorted(ours) == sorted(theirs), "images keep their splits"


def test_shards_have_equal_row_counts_and_hashes(organized: OrganizedDataset) -> None:
    shards = organized.snapshot.shards[Split.TRAIN]
    assert len(shards) > 3
    assert max(shard.rows for shard in shards) - min(shard.rows for shard in shards) <= 1
    for shard in shards:
        content = organized.snapshot.storage.read(shard.path)
        assert hashlib.sha256(content).hexdigest() == shard.sha256


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_any_number_of_readers_read_each_row_once(organized: OrganizedDataset, workers: int) -> None:
    snapshot, total = organized.snapshot, organized.snapshot.row_count(Split.TRAIN)
    edges = [total * worker // workers for worker in range(workers + 1)]
    seen = []
    for start, stop in pairwise(edges):
        part = [
            row
            for batch in snapshot.batches(Split.TRAIN, start, stop)
            for row in batch["image_id"].to_pylist()
        ]
        assert len(part) == stop - start
        seen += part
    assert seen == [image for image, _ in rows_of(snapshot, Split.TRAIN)]


def test_unknown_label_and_single_image_are_refused(spark: SparkSession, own: Settings) -> None:
    with pytest.raises(NothingToOrganize, match="'unicorn'; there are cat, dog, owl, yak"):
        organize(spark, own, ["cat", "unicorn"])
    known = tables.read(spark, own.lake, Table.SAMPLES).where("label = 'yak'").select("image_id")
    tables.update(spark, own.lake, Table.SAMPLES, known.withColumn("split", f.lit("test")), "image_id")
    with pytest.raises(NothingToOrganize, match=r"'yak' has 1 image\(s\), none in the training split"):
        organize(spark, own, ["cat", "yak"])


def test_the_error_for_an_empty_lake_has_the_next_command(
    spark: SparkSession, own: Settings, tmp_path: Path
) -> None:
    empty = own.model_copy(update={"lake": Lake(root=str(tmp_path))})
    with pytest.raises(NothingToOrganize, match="hub ingest --once"):
        organize(spark, empty)


def test_the_error_for_a_damaged_snapshot_has_its_path(organized: OrganizedDataset, tmp_path: Path) -> None:
    with pytest.raises(DamagedSnapshot, match="nowhere"):
        DatasetSnapshot.load(Storage(str(tmp_path / "nowhere"), organized.snapshot.storage.s3))
    manifest = organized.snapshot.manifest() | {"format": 99}
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(DamagedSnapshot, match="format 99"):
        DatasetSnapshot.load(Storage(str(tmp_path), organized.snapshot.storage.s3))


def test_all_pairs_of_near_hashes_are_found(spark: SparkSession) -> None:
    """Compared with a comparison of all pairs, on hashes with up to six flipped bits."""
    rng_bits = [
        int.from_bytes(hashlib.sha256(str(i).encode()).digest()[:8], "big", signed=True) for i in range(40)
    ]
    hashes = set(rng_bits)
    for number, value in enumerate(rng_bits):
        flipped = value
        for bit in range(number % 7):
            flipped ^= 1 << ((number * 11 + bit * 17) % 63)
        hashes.add(flipped)
    ordered = sorted(hashes)
    for distance in (0, 2, 5):
        expected = {
            (a, b)
            for i, a in enumerate(ordered)
            for b in ordered[i + 1 :]
            if ((a ^ b) & (2**64 - 1)).bit_count() <= distance
        }
        found = near_pairs(spark.createDataFrame([(h,) for h in ordered], "phash long"), distance)
        assert {(row.low, row.high) for row in found.collect()} == expected


def test_samples_ingested_while_versions_are_read_have_their_pictures(
    spark: SparkSession, own: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ingestion commits to both tables, the ledger first, after the first version is read."""
    shutil.copytree(own.lake.root, tmp_path / "lake", ignore=shutil.ignore_patterns("snapshots"))
    busy = own.model_copy(update={"lake": Lake(root=str(tmp_path / "lake"))})
    version, read = tables.version, {}

    def version_and_ingestion(spark: SparkSession, lake: Lake, table: Table) -> int:
        read[table] = version(spark, lake, table)
        if len(read) == 1:
            for name in (Table.UPLOADS, Table.SAMPLES):
                rows = tables.read(spark, lake, name).where("upload_id = 'u0'")
                rows = rows.withColumns({"image_id": f.lit(f"{1000:064x}"), "upload_id": f.lit("u1000")})
                rows.write.format("delta").mode("append").save(lake.at(name))
        return read[table]

    def stop(*_: object) -> None:
        raise InterruptedError

    monkeypatch.setattr(tables, "version", version_and_ingestion)
    monkeypatch.setattr(organizing, "with_duplicate_group", stop)
    with pytest.raises(InterruptedError):
        organize(spark, busy)
    samples, uploads = (
        tables.read(spark, busy.lake, name, read[name]) for name in (Table.SAMPLES, Table.UPLOADS)
    )
    assert samples.join(uploads, ["image_id", "upload_id"], "left_anti").isEmpty()


def test_the_row_of_a_dataset_has_all_that_reproduces_it(
    organized: OrganizedDataset, spark: SparkSession, own: Settings
) -> None:
    row = tables.read(spark, own.lake, Table.DATASETS).where(f"dataset_id = '{organized.dataset_id}'").head()
    assert row is not None
    assert row.labels == ["cat", "dog", "owl"]
    assert row.counts == organized.totals()
    assert row.manifest_sha256 == organized.manifest_sha256
    assert set(row.table_versions) == {"uploads", "samples"}
    assert row.left_out == {"label_not_chosen": 1} and row.sources == {"users": 0, "devices": 0, "batches": 0}
    assert row.created.replace(tzinfo=UTC) <= datetime.now(UTC)
