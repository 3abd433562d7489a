"""Dataset snapshots on a real lake: options, remembered splits, and what a snapshot survives."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as f

from conf.choices import KeepTogether
from conf.sections import Lake
from conf.settings import Settings
from lake import row_writer, tables
from lake.errors import BadQuery, NothingToOrganize, SplitsInUse, StorageError
from lake.schemas import LABEL_CONFLICT
from lake.snapshot import MANIFEST, DatasetSnapshot, Split
from lake.spark.session_properties import temporary_properties
from lake.storage import Storage
from lake.table import Table
from models.registry import model_cards
from models.registry.model_cards import ModelCard
from organize.datasets import shards
from organize.datasets.catalogue import find
from organize.datasets.dataset import OrganizedDataset, SplitChange, organize
from organize.datasets.selection import Selection
from organize.datasets.snapshot_writer import assign_shards
from organize.datasets.verification import verify
from organize.review import decision_log
from organize.review.decisions import Kind, Wish
from tests.support import pictures
from tests.support.commands import Hub, hub_command
from tests.support.waiting import wait_until

pytestmark = pytest.mark.services

_IMAGES = 60  # 40 cats and 20 dogs of 6 users


def fill(
    spark: SparkSession, own: Settings, first: int = 0, images: int = _IMAGES, same: bool = False
) -> None:
    """Add images to the ledger and to samples.

    Args:
        same: whether all have one pHash, so that all are near duplicates.
    """
    rows = []
    for number in range(first, first + images):
        phash = int.from_bytes(
            hashlib.sha256(str(0 if same else number).encode()).digest()[:8], "big", signed=True
        )
        label, jpeg = ("dog" if number % 3 == 2 else "cat"), pictures.jpeg(40, 40, number)
        rows.append((f"{number:064x}", f"u{number}", label, phash, f"user-{number % 6}", jpeg))
    frame = spark.createDataFrame(
        rows, "image_id string, upload_id string, label string, phash long, user string, jpeg binary"
    )
    uploads = frame.selectExpr("*", "'accepted' AS verdict", "CAST(array() AS array<string>) AS flags")
    uploads.write.format("delta").mode("append").save(own.lake.at(Table.UPLOADS))
    samples = uploads.select("image_id", "upload_id", "label", "phash", "user", "flags")
    samples.write.format("delta").mode("append").save(own.lake.at(Table.SAMPLES))


@pytest.fixture(scope="module")
def filled(settings: Settings, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A lake that no test changes."""
    lake = Lake(root=str(tmp_path_factory.mktemp("snapshots") / "lake"))
    plan = settings.organize.model_copy(update={"shard_rows": 16, "row_group_rows": 8})
    labels = settings.labels.model_copy(update={"ready_images": 10})
    own = settings.model_copy(update={"lake": lake, "organize": plan, "labels": labels})
    tables.create(spark, lake)
    fill(spark, own)
    return own


@pytest.fixture
def own(filled: Settings, tmp_path: Path) -> Iterator[Settings]:
    """A copy of the lake for one test."""
    shutil.copytree(filled.lake.root, tmp_path / "lake")
    yield filled.model_copy(update={"lake": Lake(root=str(tmp_path / "lake"))})


def places(snapshot: DatasetSnapshot) -> dict[str, Split]:
    """Image id to its split."""
    return {
        image: split
        for split in Split
        for ids in snapshot.column(split, "image_id")
        for image in ids.to_pylist()
    }


def files(snapshot: DatasetSnapshot) -> dict[str, str]:
    return {shard.path: shard.sha256 for shards in snapshot.shards.values() for shard in shards}


def test_images_keep_their_splits_when_seed_fractions_and_pictures_change(
    spark: SparkSession, own: Settings
) -> None:
    first = organize(spark, own)
    before = places(first.snapshot)
    assert first.counts["cat"] == {"train": 32, "validation": 4, "test": 4}
    assert first.counts["dog"] == {"train": 16, "validation": 2, "test": 2}
    assert first.remembered == 0
    fill(spark, own, _IMAGES, 30)
    plan = own.organize.model_copy(update={"seed": 8, "fractions": (0.6, 0.2, 0.2)})
    second = organize(spark, own.model_copy(update={"organize": plan}))
    after = places(second.snapshot)
    assert before.items() <= after.items() and len(after) == 90
    assert second.remembered == 60
    assert second.counts["cat"] == {"train": 36, "validation": 12, "test": 12}, "new images make up for it"


def test_new_splits_are_refused_once_a_model_was_trained(spark: SparkSession, own: Settings) -> None:
    first = organize(spark, own)
    model_cards.write_card(own, ModelCard("m-1", first.dataset_id, "resnet20", 32, ("cat", "dog")))
    plan = own.organize.model_copy(update={"seed": 8})
    other = own.model_copy(update={"organize": plan})
    with pytest.raises(SplitsInUse, match=r"the newest is m-1 on ds-.*add --force"):
        organize(spark, other, change=SplitChange(new_splits=True))
    moved = organize(spark, other, change=SplitChange(new_splits=True, force=True))
    assert places(moved.snapshot) != places(first.snapshot) and moved.remembered == 0
    assert moved.snapshot.filter["split_generation"] == 1, "so that `hub train --from` finds leaks"
    known = tables.read(spark, own.lake, Table.SAMPLES).select("image_id", "split").collect()
    assert {row.image_id: row.split for row in known} == places(moved.snapshot), "these are remembered now"


def test_whole_users_stay_on_one_side(spark: SparkSession, own: Settings) -> None:
    plan = own.organize.model_copy(
        update={"keep_together": (KeepTogether.USER,), "fractions": (0.5, 0.3, 0.2)}
    )
    made = organize(spark, own.model_copy(update={"organize": plan}))
    users: dict[int, set[Split]] = {}
    for image, split in places(made.snapshot).items():
        users.setdefault(int(image, 16) % 6, set()).add(split)
    assert all(len(splits) == 1 for splits in users.values()) and len(users) == 6
    assert {split for splits in users.values() for split in splits} == set(Split)
    assert made.snapshot.filter["keep_together"] == ["user"]


def test_labels_below_another_condition_and_weights_are_in_the_manifest(
    spark: SparkSession, own: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("label,parent,display_name\nanimal,,Animal\npet,animal,Pet\ncat,pet,Cat\ndog,pet,Dog\n")
    labels = own.labels.model_copy(update={"file": file})
    selection = Selection(where="user <> 'user-0'", weights="balanced")
    made = organize(spark, own.model_copy(update={"labels": labels}), ["animal"], selection)
    assert made.snapshot.labels == ("cat", "dog") and made.left_out == {"where_not_met": 10}
    assert made.snapshot.filter["where"] == "user <> 'user-0'"
    counts = [made.counts[label]["train"] for label in ("cat", "dog")]
    weights = made.snapshot.class_weights
    assert weights[0] * counts[0] == pytest.approx(weights[1] * counts[1], rel=1e-4)
    assert all(int(image, 16) % 6 for image in places(made.snapshot))
    row = tables.read(spark, own.lake, Table.DATASETS).where(f"dataset_id = '{made.dataset_id}'").head()
    assert row is not None and row.left_out == {"where_not_met": 10} and row.sources["users"] == 5


def test_bad_choices_are_one_line_and_change_nothing(spark: SparkSession, own: Settings) -> None:
    version = tables.version(spark, own.lake, Table.SAMPLES)
    with pytest.raises(NothingToOrganize, match=r"no image can be chosen \(60 where_not_met\)"):
        organize(spark, own, ["cat"], Selection(where="user = 'nobody'"))
    with pytest.raises(BadQuery, match="PARSE_SYNTAX_ERROR"):
        organize(spark, own, ["cat"], Selection(where="user ="))
    with pytest.raises(NothingToOrganize, match="no label has 10 images yet; the largest, 'cat', has 7"):
        organize(spark, own, (), Selection(where=f"user = 'user-0' AND image_id < '{42:064x}'"))
    assert tables.version(spark, own.lake, Table.SAMPLES) == version
    assert not Path(own.lake.at("snapshots")).exists()


def test_where_every_image_is_a_duplicate_all_are_in_training(
    spark: SparkSession, own: Settings, tmp_path: Path
) -> None:
    lake = Lake(root=str(tmp_path / "same"))
    same = own.model_copy(update={"lake": lake})
    tables.create(spark, lake)
    fill(spark, same, 0, 20, same=True)
    made = organize(spark, same, ["cat", "dog"])
    assert (made.totals(), made.groups) == ({"train": 20, "validation": 0, "test": 0}, 1)


def test_the_same_bytes_from_any_number_of_partitions(
    spark: SparkSession, filled: Settings, tmp_path: Path
) -> None:
    uploads = tables.read(spark, filled.lake, Table.UPLOADS)
    split = f.when(f.expr("conv(right(image_id, 2), 16, 10) % 5 = 0"), "test").otherwise("train")
    chosen = uploads.select("image_id", "upload_id", "label").withColumn("split", split)
    found = []
    for partitions in (1, 2, 7):
        properties = {
            "spark.sql.shuffle.partitions": str(partitions),
            "spark.sql.adaptive.enabled": "false",
        }
        with temporary_properties(spark, properties):
            rows = chosen.repartition(partitions)
            assignment = assign_shards(rows, ["cat", "dog"], filled.organize)
            pictures = uploads.repartition(partitions).select("image_id", "upload_id", "jpeg")
            storage = Storage(str(tmp_path / str(partitions)), filled.s3)
            written = shards.write(assignment, pictures, storage, 8)
            found.append((written, shards.digest(assignment)))
    assert found[0] == found[1] == found[2]
    assert sum(shard.rows for each in found[0][0].values() for shard in each) == _IMAGES
    names = [path.relative_to(tmp_path / "1") for path in (tmp_path / "1").rglob("*.parquet")]
    assert len(names) == 4
    for name in names:
        contents = {(tmp_path / folder / name).read_bytes() for folder in ("1", "2", "7")}
        assert len(contents) == 1


def labels_of(made: OrganizedDataset) -> dict[str, str]:
    """Image id to the label that a training learns."""
    rows = [
        row for split in Split for batch in made.snapshot.batches(split, 0, 99) for row in batch.to_pylist()
    ]
    return {row["image_id"]: made.snapshot.labels[row["label"]] for row in rows}


def test_what_people_decide_flows_into_the_next_snapshot_and_an_undo_takes_it_back(
    spark: SparkSession, own: Settings
) -> None:
    relabelled, excluded, disputed = (f"{number:064x}" for number in (0, 1, 3))
    conflict = {"image_id": disputed, "flags": [LABEL_CONFLICT], "label_source": "claimed"}
    row_writer.update(own, Table.SAMPLES, "image_id", conflict)
    wishes = [
        Wish(relabelled, Kind.RELABEL, "dog"), Wish(excluded, Kind.NONE_OF_THESE), Wish(disputed, Kind.KEEP),
    ]  # fmt: skip
    decision_id = decision_log.decide(own, wishes, "ann").decision_id
    assert decision_id
    decided = organize(spark, own)
    labels, splits = labels_of(decided), places(decided.snapshot)
    assert labels[relabelled] == "dog" and labels[disputed] == "cat" and excluded not in labels
    assert (len(labels), decided.left_out["none_of_these"]) == (59, 1)

    decision_log.undo(own, decision_id, "ben")
    row_writer.update(own, Table.SAMPLES, "image_id", conflict)  # one upload claims one label in this lake
    undone = organize(spark, own)
    labels = labels_of(undone)
    assert labels[relabelled] == labels[excluded] == "cat" and disputed not in labels
    assert (len(labels), undone.left_out["label_conflict"]) == (59, 1)
    now = places(undone.snapshot)
    assert all(splits.get(image, split) is split for image, split in now.items())


@pytest.mark.faults  # it takes a minute
def test_a_snapshot_survives_the_vacuum_of_its_tables(spark: SparkSession, own: Settings) -> None:
    made = organize(spark, own)
    for table in (Table.SAMPLES, Table.UPLOADS):
        rows = tables.read(spark, own.lake, table).where("label = 'dog'")
        rows.write.format("delta").mode("overwrite").save(own.lake.at(table))
        with temporary_properties(spark, {"spark.databricks.delta.retentionDurationCheck.enabled": "false"}):
            spark.sql(f"VACUUM delta.`{own.lake.at(table)}` RETAIN 0 HOURS")
    assert verify(find(own, made.dataset_id)).problems == ()
    read = [
        row for split in Split for batch in made.snapshot.batches(split, 0, 99) for row in batch.to_pylist()
    ]
    assert len(read) == 60 and all(row["jpeg"][:2] == b"\xff\xd8" for row in read)


def test_pictures_that_were_vacuumed_are_one_line_and_nothing_is_half_written(
    spark: SparkSession, own: Settings
) -> None:
    for file in Path(own.lake.at(Table.UPLOADS)).glob("*.parquet"):
        file.unlink()
    with pytest.raises(StorageError, match="cannot write shards to ") as caught:
        organize(spark, own)
    assert "\n" not in str(caught.value) and "VACUUM" in str(caught.value)
    assert not list(Path(own.lake.root).rglob(MANIFEST))
    assert tables.read(spark, own.lake, Table.DATASETS).isEmpty()


@pytest.mark.faults
def test_a_killed_run_and_the_next_give_the_same_bytes_as_an_undisturbed_one(
    spark: SparkSession, own: Settings, hub: Hub, tmp_path: Path
) -> None:
    fill(spark, own, _IMAGES, 600)
    shutil.copytree(own.lake.root, tmp_path / "other")
    undisturbed = own.model_copy(update={"lake": Lake(root=str(tmp_path / "other"))})
    place = {
        "HUB__LAKE__ROOT": own.lake.root,
        "HUB__ORGANIZE__SHARD_ROWS": "16",
        "HUB__ORGANIZE__ROW_GROUP_ROWS": "8",
    }
    snapshots = Path(own.lake.at("snapshots"))
    running = subprocess.Popen(
        hub_command("organize", "--skip-catch-up", "--json"),
        env=os.environ | place,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert wait_until(lambda: any(snapshots.rglob("*.parquet")) or running.poll() is not None, 180)
        assert running.poll() is None
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait(30)
    assert not list(snapshots.rglob(MANIFEST)), "it was killed in the middle"
    again = hub("organize", "--skip-catch-up", "--json", **place)
    assert again.status == 0, again.stderr
    result = json.loads(again.stdout)
    expected = organize(spark, undisturbed)
    found = DatasetSnapshot.load(Storage(result["path"], own.s3))
    assert (result["dataset_id"], result["manifest_sha256"]) == (
        expected.dataset_id,
        expected.manifest_sha256,
    )
    assert files(found) == files(expected.snapshot)
    assert verify(find(own, result["dataset_id"])).problems == ()
    splits = [
        {
            row.image_id: row.split
            for row in tables.read(spark, each.lake, Table.SAMPLES).select("image_id", "split").collect()
        }
        for each in (own, undisturbed)
    ]
    assert splits[0] == splits[1]
    assert tables.read(spark, own.lake, Table.DATASETS).agg(f.count("*")).collect()[0][0] == 1
