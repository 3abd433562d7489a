"""Erasure of a user, on real tables: none of their data is left in any file, other users' data stays."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as f

from conf.sections import S3, Kafka, Lake
from conf.settings import Settings
from lake import tables, views
from lake.erasure import erased_ids, purge
from lake.erasure.rules import RULES
from lake.errors import InUse
from lake.locks import lease, maintenance_lock
from lake.locks.lock_holder import LockHolder
from lake.storage import Storage
from lake.table import Table
from organize.datasets.dataset import organize
from organize.wanted import watch_list
from streaming import erasure
from streaming.contract.record import Upload
from streaming.errors import LakeInUse, UnknownUser
from streaming.ingestion import Ingestion, IngestReport
from streaming.ledger import lake_lease
from tests.support import pictures
from tests.support.commands import hub_command
from tests.support.uploads import received, send, upload
from tests.support.waiting import wait_until

pytestmark = pytest.mark.services
SLOW = pytest.mark.faults

ERASED_USER = "user-to-be-forgotten"


@pytest.fixture
def own(settings: Settings, kafka: Kafka, tmp_path: Path) -> Settings:
    """Settings with a lake, an index and topics that no other test has; one image makes a label ready."""
    ingest = settings.ingest.model_copy(update={"index_dir": tmp_path / "index"})
    labels = settings.labels.model_copy(update={"ready_images": 1})
    lake = Lake(root=str(tmp_path / "lake"))
    return settings.model_copy(update={"lake": lake, "kafka": kafka, "ingest": ingest, "labels": labels})


def ingest_once(spark: SparkSession, own: Settings) -> IngestReport:
    report = IngestReport()
    Ingestion(spark, own, own.kafka.bootstrap).once(report)
    return report


def rows(spark: SparkSession, own: Settings, table: Table) -> list[Row]:
    return tables.read(spark, own.lake, table).collect()


def erased_upload(number: int, **changed: object) -> Upload:
    return replace(upload(number), **({"user": ERASED_USER, "device": "phone-of-goner"} | changed))  # type: ignore[arg-type]


def image_id(sent: Upload) -> str:
    return hashlib.sha256(sent.content or b"").hexdigest()


def test_tables_that_the_next_ingestion_creates_do_not_stop_an_erasure(
    spark: SparkSession, own: Settings
) -> None:
    send(own.kafka, [erased_upload(1), upload(2)])
    ingest_once(spark, own)
    for table in set(Table) - {Table.SAMPLES, Table.UPLOADS}:
        shutil.rmtree(own.lake.at(table))
    found = erasure.plan(spark, own, own.kafka.bootstrap, ERASED_USER).traces
    assert (found.uploads, found.datasets, found.models) == (1, {}, [])
    assert erasure._tables_to_purge(spark, own.lake) == [Table.SAMPLES, Table.UPLOADS]


def find_in_files(folder: Path, needles: Iterable[bytes]) -> list[tuple[str, bytes]]:
    """Files that contain any of these bytes, either directly or inside Parquet columns."""
    import pyarrow.parquet as pq

    wanted, found = list(needles), []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        texts = [file.read_bytes()]
        if file.suffix == ".parquet":
            read = pq.ParquetFile(file)
            texts.append(repr(read.read().to_pylist()).encode())
            groups = [read.metadata.row_group(number) for number in range(read.num_row_groups)]
            texts.append(repr([group.to_dict() for group in groups]).encode())
        for needle in wanted:
            if any(needle in text for text in texts):
                found.append((str(file.relative_to(folder)), needle))
    return found


def as_repr(content: bytes) -> bytes:
    """Bytes as `find_in_files` searches for them in a column: the inside of their repr."""
    return repr(content)[2:-1].encode()


def _embed_samples(spark: SparkSession, own: Settings) -> Path:
    """Give each sample an embedding; the folder of the index on this machine."""
    samples = tables.read(spark, own.lake, Table.SAMPLES)
    vectors = samples.selectExpr("image_id", "'net' AS model_id", "CAST(image_id AS binary) AS vector")
    vectors.write.format("delta").mode("append").save(own.lake.at(Table.EMBEDDINGS))
    folder = own.organize.index_dir / tables.table_id(spark, own.lake, Table.EMBEDDINGS)
    (folder / "net").mkdir(parents=True)
    return folder


def _group_samples(spark: SparkSession, own: Settings) -> None:
    """Make near duplicates of all samples, each of the next one."""
    ids = sorted(row.image_id for row in rows(spark, own, Table.SAMPLES))
    names = {"relation": "cropped", "verified_by": "test"}
    pairs = [names | {"first": one, "second": other} for one, other in pairwise(ids)]
    groups = [
        names | {"group_id": "g-1", "image_id": one, "matched_image": other}
        for one, other in zip(ids, [*ids[1:], ids[0]], strict=True)
    ]
    tables.upsert(spark, own.lake, Table.DUPLICATE_PAIRS, pairs, "first", "second")
    tables.upsert(spark, own.lake, Table.GROUPS, groups, "image_id")


@pytest.mark.faults  # slow
def test_no_data_of_a_user_is_left_and_other_users_data_stays(spark: SparkSession, own: Settings) -> None:
    shared, early = upload(50, label="cat"), erased_upload(50, label="dog")
    handed_over = replace(upload(51, label="cat"), content=pictures.jpeg(seed=90))
    sent = [
        erased_upload(90, label="dog"),
        *(erased_upload(number, label="goners-own-label") for number in range(91, 95)),
    ]
    broken = erased_upload(96, content=pictures.jpeg(seed=96)[:900])
    unreadable = (b"phone", b"rubbish", [*[h for h in erased_upload(97).headers() if h[0] != "ce_time"]])
    send(own.kafka, [upload(number) for number in range(10)])
    ingest_once(spark, own)
    send(own.kafka, [*sent, early, broken, unreadable], partition=1)
    ingest_once(spark, own)
    send(own.kafka, [handed_over, shared, upload(11)], partition=2)
    ingest_once(spark, own)
    flagged = {row.image_id: row for row in rows(spark, own, Table.SAMPLES)}
    assert flagged[image_id(handed_over)].user == ERASED_USER
    assert flagged[image_id(handed_over)].flags == ["label_conflict"]
    snapshot = organize(spark, own, ["goners-own-label", "cat"])
    vector_index = _embed_samples(spark, own)
    _group_samples(spark, own)
    alone = {image_id(each) for each in sent[1:]}
    stored = [row.jpeg for row in rows(spark, own, Table.UPLOADS) if row.image_id in alone]
    needles = [ERASED_USER.encode(), b"phone-of-goner", as_repr(b"rubbish")]
    needles += [image_id(each)[:32].encode() for each in sent[1:]]
    needles += [each.id.encode() for each in [*sent, early, broken]]
    # The beginnings of JPEGs are all alike.
    needles += [as_repr(content)[-400:-100] for content in (*stored, broken.content or b"")]
    needles.append(b"goners-own-label")
    folders = [Path(own.lake.at(table)) for table in Table]
    # The row of a dataset names its labels; dataset snapshots are immutable, and the erasure reports them.
    immutable = (Path(own.lake.at(Table.DATASETS)), needles[-1:])
    before = [each for folder in folders for each in find_in_files(folder, needles)]
    assert {needle for _, needle in before} == set(needles), "the search must find all of it before"

    done = erasure.erase(spark, own, own.kafka.bootstrap, ERASED_USER)

    left = {str(folder): find_in_files(folder, needles) for folder in folders}
    allowed = {str(immutable[0]): find_in_files(*immutable)}
    assert {name: matches for name, matches in left.items() if matches} == allowed
    assert find_in_files(Path(own.lake.root), [ERASED_USER.encode()]) == []
    assert find_in_files(own.ingest.index_dir, [ERASED_USER.encode()]) == []
    assert (done.traces.uploads, done.traces.accepted) == (8, 6)
    assert (done.traces.images_removed, done.traces.images_kept) == (4, 2)
    assert done.traces.datasets == {snapshot.dataset_id: 4}
    reach = "\n".join(done.remaining_copies)
    assert f"topic {own.kafka.topic}: kept for 168 h" in reach
    assert f"snapshot {snapshot.dataset_id}: 4 of the images" in reach

    remembered = {row.key: row.split for row in rows(spark, own, Table.ERASED_SPLITS)}
    assert set(remembered) == {erased_ids.split_key(image) for image in alone} and all(remembered.values())
    samples = {row.image_id: row for row in rows(spark, own, Table.SAMPLES)}
    assert len(samples) == 13
    assert {row.image_id for row in rows(spark, own, Table.EMBEDDINGS)} == set(samples)
    assert not vector_index.exists()
    groups = {row.image_id: row.matched_image for row in rows(spark, own, Table.GROUPS)}
    assert set(groups) == set(samples)
    assert set(groups.values()) - {None} <= set(samples) and None in groups.values()
    pairs = {end for row in rows(spark, own, Table.DUPLICATE_PAIRS) for end in (row.first, row.second)}
    assert pairs and pairs <= set(samples)
    assert samples[image_id(handed_over)].asDict() | {
        "upload_id": handed_over.id, "device": "phone-2", "user": "user-2", "label": "cat", "flags": [],
    } == samples[image_id(handed_over)].asDict()  # fmt: skip
    assert samples[image_id(shared)].upload_id == shared.id
    assert all(row.duplicate_group is None or row.duplicate_group in samples for row in samples.values())
    labels = {row.label: row.accepted for row in rows(spark, own, Table.LABELS)}
    assert labels == {"cat": 13}
    uploads = rows(spark, own, Table.UPLOADS)
    assert len({(row.partition, row.offset) for row in uploads}) == len(uploads) == 21
    erased = [row.asDict() for row in uploads if row.verdict == "erased"]
    assert len(erased) == 8
    kept = {"topic", "partition", "offset", "verdict", "upload_id", "ingest_time", "ingest_batch"}
    assert all({name for name, value in row.items() if value is not None} <= kept for row in erased)
    views.register(spark, own.lake)
    shown = views.query(spark, "SELECT sum(submitted) AS n FROM batches", 1).rows
    assert shown == [{"n": 13}]


@pytest.mark.faults
def test_followers_and_the_ledger_continue_after_an_erasure(spark: SparkSession, own: Settings) -> None:
    gone, cut = erased_upload(1), erased_upload(2, content=b"")
    send(own.kafka, [upload(0), gone, cut], partition=0)
    ingest_once(spark, own)
    letters = len(received(own.kafka, own.kafka.rejected_topic))
    erasure.erase(spark, own, own.kafka.bootstrap, ERASED_USER)
    checkpoint = Path(own.lake.at("checkpoints", f"ingest-{own.kafka.topic}"))
    for round_, lost in enumerate(("nothing", "index", "checkpoint")):
        if lost == "index":
            for database in own.ingest.index_dir.iterdir():
                database.unlink()
        if lost == "checkpoint":
            checkpoint.rename(checkpoint.with_name("lost"))
        send(own.kafka, [upload(10 + round_), upload(20 + round_, content=b""), gone], partition=0)
        report = ingest_once(spark, own)
        assert (report.records, report.accepted) == (3, 1), f"after {lost} was lost"
        assert report.rejected == {"empty": 1, "duplicate_upload": 1}
    assert tables.read(spark, own.lake, Table.UPLOADS).count() == 12
    assert len(rows(spark, own, Table.SAMPLES)) == 4
    assert [row.accepted for row in rows(spark, own, Table.LABELS)] == [4]
    assert len(received(own.kafka, own.kafka.rejected_topic)) == letters + 6
    # The repeated uploads named the user again; a second erasure redacts them, too.
    again = erasure.erase(spark, own, own.kafka.bootstrap, ERASED_USER)
    assert (again.traces.uploads, again.traces.accepted) == (3, 0)
    assert find_in_files(Path(own.lake.root), [ERASED_USER.encode()]) == []


@pytest.mark.faults  # half a minute each
@pytest.mark.parametrize("which", ["ingest.lock", "organize.lock"])
def test_an_erasure_that_lost_a_lease_stops_before_it_deletes_unused_files(
    spark: SparkSession, own: Settings, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """Another process may be writing by then, and its files are not part of any version yet."""
    send(own.kafka, [erased_upload(1), upload(2)])
    ingest_once(spark, own)
    on_losses: dict[str, Callable[[str], None]] = {}
    original_held = lease.held

    def recording_held(
        uri: str, s3: S3, seconds: float, holder: LockHolder, on_loss: Callable[[str], None], *more: bool
    ) -> Any:
        on_losses[Path(uri).name] = on_loss
        return original_held(uri, s3, seconds, holder, on_loss, *more)

    monkeypatch.setattr(lease, "held", recording_held)

    def lose(step: str) -> None:
        if step.startswith("redact the rows"):
            on_losses[which]("the lease was taken")

    orphan = Path(own.lake.at(Table.UPLOADS)) / "part-of-an-unfinished-commit.snappy.parquet"
    orphan.write_bytes(b"PAR1")
    with pytest.raises((LakeInUse, InUse), match="the lease was taken; run it again"):
        erasure.erase(spark, own, own.kafka.bootstrap, ERASED_USER, lose)
    assert orphan.exists()

    assert erasure.erase(spark, own, own.kafka.bootstrap, ERASED_USER).resumed
    assert not orphan.exists()
    assert find_in_files(Path(own.lake.root), [ERASED_USER.encode()]) == []


@SLOW
def test_a_person_who_watches_a_label_during_an_erasure_waits_for_the_purge(
    spark: SparkSession, own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A purge deletes every file that no commit names, so also one that is about to be committed."""
    send(own.kafka, [erased_upload(1), upload(2)])
    ingest_once(spark, own)
    watch_list.watch(own, "kiwi", ERASED_USER)
    original_vacuum, watched, waited = purge.vacuum, threading.Event(), []

    def watch() -> None:
        watch_list.watch(own, "kiwi", "ann")
        watched.set()

    person = threading.Thread(target=watch)

    def vacuum(spark: SparkSession, settings: Settings, table: Table) -> int:
        if table is Table.WATCHES:
            person.start()
            waited.append(not watched.wait(1))
        return original_vacuum(spark, settings, table)

    monkeypatch.setattr(purge, "vacuum", vacuum)
    erasure.erase(spark, own, own.kafka.bootstrap, ERASED_USER)
    person.join(20)
    assert waited == [True]
    assert watch_list.watchers(own) == {"kiwi": ["ann"]}


def test_every_table_has_a_rule_for_erasure() -> None:
    """Without a rule, a new table would keep an erased user's data."""
    assert set(RULES) == set(Table)
    assert all(rule.step for rule in RULES.values())


def test_an_unknown_user_is_a_one_line_error_and_nothing_is_changed(
    spark: SparkSession, own: Settings
) -> None:
    send(own.kafka, [upload(1)])
    ingest_once(spark, own)
    versions = [tables.version(spark, own.lake, table) for table in Table]
    with pytest.raises(UnknownUser, match=r"no upload, decision or watched label of user 'nobody'") as caught:
        erasure.erase(spark, own, own.kafka.bootstrap, "nobody")
    assert "\n" not in str(caught.value)
    assert [tables.version(spark, own.lake, table) for table in Table] == versions


@pytest.mark.faults  # half a minute
def test_a_dry_run_reports_the_same_and_changes_nothing(spark: SparkSession, own: Settings) -> None:
    send(own.kafka, [upload(1), erased_upload(2), erased_upload(3, content=b"")])
    ingest_once(spark, own)
    versions = [tables.version(spark, own.lake, table) for table in Table]
    planned = erasure.plan(spark, own, own.kafka.bootstrap, ERASED_USER)
    assert [tables.version(spark, own.lake, table) for table in Table] == versions
    assert erasure.erase(spark, own, own.kafka.bootstrap, ERASED_USER) == planned


def test_erasing_is_refused_during_an_ingestion(spark: SparkSession, own: Settings) -> None:
    send(own.kafka, [erased_upload(2)])
    ingest_once(spark, own)
    with (
        lake_lease.held(own, "ingest"),
        pytest.raises(LakeInUse, match=r"`hub ingest` on .* pid \d+, since 20"),
    ):
        erasure.erase(spark, own, own.kafka.bootstrap, ERASED_USER)


def test_erasing_and_organizing_exclude_each_other(spark: SparkSession, own: Settings) -> None:
    send(
        own.kafka, [erased_upload(2, label="dog"), *(upload(number, label="cat") for number in range(10, 16))]
    )
    ingest_once(spark, own)
    versions = [tables.version(spark, own.lake, table) for table in Table]
    with (
        maintenance_lock.held(own, "organize"),
        pytest.raises(InUse, match=r"`hub organize` on .* pid \d+, since 20"),
    ):
        erasure.erase(spark, own, own.kafka.bootstrap, ERASED_USER)
    with (
        maintenance_lock.held(own, "erase"),
        pytest.raises(InUse, match=r"`hub erase` on .* pid \d+, since 20"),
    ):
        organize(spark, own, ["cat"])
    assert [tables.version(spark, own.lake, table) for table in Table] == versions
    with lake_lease.held(own, "ingest"):
        assert sum(organize(spark, own, ["cat"]).totals().values()) == 6


def test_an_unfinished_dataset_snapshot_is_reported(spark: SparkSession, own: Settings) -> None:
    send(own.kafka, [erased_upload(2)])
    ingest_once(spark, own)
    Storage(own.lake.at("snapshots"), own.s3).write("ds-half/train-00000.parquet", b"pictures")
    planned = erasure.plan(spark, own, own.kafka.bootstrap, ERASED_USER)
    assert planned.traces.unreadable == ["ds-half"]
    assert f"delete {own.lake.at('snapshots', 'ds-half')} to be sure" in "\n".join(planned.remaining_copies)


@pytest.mark.parametrize(
    "damage", [pytest.param("gone", marks=SLOW), pytest.param("cut", marks=SLOW), "listless"]
)
def test_a_damaged_dataset_snapshot_does_not_prevent_an_erasure(
    spark: SparkSession, own: Settings, damage: str
) -> None:
    send(
        own.kafka, [erased_upload(2, label="cat"), *(upload(number, label="cat") for number in range(10, 16))]
    )
    ingest_once(spark, own)
    made = organize(spark, own, ["cat"])
    folder = Path(own.lake.at("snapshots", made.dataset_id))
    shard = next(folder.rglob("*.parquet"))
    if damage == "gone":
        shard.unlink()
    elif damage == "cut":
        shard.write_bytes(shard.read_bytes()[:-30])
    else:
        manifest = json.loads((folder / "manifest.json").read_text())
        del manifest["shards"]
        (folder / "manifest.json").write_text(json.dumps(manifest))
    for sidecar in folder.rglob(".*.crc"):
        sidecar.unlink()
    planned = erasure.plan(spark, own, own.kafka.bootstrap, ERASED_USER)
    assert planned.traces.unreadable == [made.dataset_id]


@pytest.mark.faults
@pytest.mark.parametrize("step", ["samples", "uploads", "sweep"])
def test_an_erasure_that_was_killed_is_resumed_by_the_next(
    spark: SparkSession, own: Settings, step: str
) -> None:
    shared = replace(upload(8), content=pictures.jpeg(seed=5))
    send(
        own.kafka,
        [upload(1), erased_upload(2), erased_upload(3), erased_upload(4, content=b""), erased_upload(5)],
        partition=0,
    )
    send(own.kafka, [shared], partition=1)
    ingest_once(spark, own)
    environment = os.environ | {
        "HUB__LAKE__ROOT": own.lake.root,
        "HUB__INGEST__INDEX_DIR": str(own.ingest.index_dir),
        "HUB__KAFKA__BOOTSTRAP": own.kafka.bootstrap,
        "HUB__KAFKA__TOPIC": own.kafka.topic,
        "HUB__KAFKA__REJECTED_TOPIC": own.kafka.rejected_topic,
        "HUB__KAFKA__VERDICTS_TOPIC": own.kafka.verdicts_topic,
    }
    table = Table.SAMPLES if step == "samples" else Table.UPLOADS
    version = tables.version(spark, own.lake, table) + (3 if step == "sweep" else 1)
    reached = Path(own.lake.at(table, "_delta_log", f"{version:020}.json"))
    eraser = subprocess.Popen(
        hub_command("erase", "--user", ERASED_USER),
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    )
    try:
        assert wait_until(lambda: reached.exists() or eraser.poll() is not None, 180)
        assert eraser.poll() is None
    finally:
        os.killpg(eraser.pid, signal.SIGKILL)
        eraser.wait(30)
    assert Storage(own.lake.at("erasures"), own.s3).list_files()

    done = erasure.erase(spark, own, own.kafka.bootstrap, ERASED_USER)

    assert done.resumed
    assert done.traces.uploads == 4
    assert find_in_files(Path(own.lake.root), [ERASED_USER.encode(), b"phone-of-goner"]) == []
    samples = {row.image_id: row.upload_id for row in rows(spark, own, Table.SAMPLES)}
    assert samples[image_id(shared)] == shared.id
    assert [row.accepted for row in rows(spark, own, Table.LABELS)] == [2]
    assert Storage(own.lake.at("erasures"), own.s3).list_files() == []
    send(own.kafka, [upload(30)])
    assert ingest_once(spark, own).accepted == 1
    counted = tables.read(spark, own.lake, Table.LABELS).agg(f.sum("accepted")).head()
    assert counted is not None
    assert counted[0] == 3
