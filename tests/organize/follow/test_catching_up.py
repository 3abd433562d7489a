"""Samples get their embedding and go through the stages once, whatever was interrupted."""

import threading
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from conf.sections import Lake
from conf.settings import Settings
from lake import tables
from lake.errors import InUse
from lake.locks import organize_lock
from lake.storage import Storage
from lake.table import Table
from organize.chunk import Chunk
from organize.errors import StageFailed
from organize.features import network_file
from organize.features.description import Describe, with_column
from organize.features.embedder import embedder_of
from organize.follow import organizer, progress
from organize.follow.catching_up import catch_up, follow
from organize.follow.counts import Counts
from organize.follow.stages import IMAGE_COLUMNS, Stage
from organize.index.vector_index import VectorIndex
from streaming.ledger.resume_offsets import checkpoint_of
from tests.organize.lakes import add_samples, add_uploads, image_id
from tests.support.waiting import wait_until

pytestmark = pytest.mark.services
MODEL = "efficientnet-lite0-128"


class RecordingStage:
    """A stage that records the images that it gets, and fails if told so."""

    def __init__(self) -> None:
        self.images: list[str] = []
        self.fails = False

    def describe(self, settings: Settings) -> Describe:
        return with_first_bytes

    def run(self, chunk: Chunk) -> int:
        expected = {*IMAGE_COLUMNS, "width", "height", "vector", "first"}
        assert set(chunk.images.column_names) == expected and chunk.model_id == MODEL
        for row in chunk.images.to_pylist():
            assert row["label"] in ("cat", "dog", "owl") and len(row["vector"]) == 2560
            assert row["first"] == b"\xff\xd8"
        if self.fails:
            raise RuntimeError("the stage failed")
        self.images += chunk.image_ids
        return len(chunk.images)


def with_first_bytes(batch: pa.RecordBatch) -> pa.RecordBatch:
    first = [jpeg[:2] for jpeg in batch["jpeg"].to_pylist()]
    return with_column(batch, "first", pa.array(first, pa.binary()))


@pytest.fixture(scope="module")
def embedders(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """The TFLite file of the default embedder, made once."""
    lake = Lake(root=str(tmp_path_factory.mktemp("embedders")))
    made = settings.model_copy(update={"lake": lake})
    return network_file.get_or_create(made, embedder_of(made)).storage


@pytest.fixture
def own(settings: Settings, embedders: Storage, spark: SparkSession, tmp_path: Path) -> Settings:
    organize = settings.organize.model_copy(
        update={"index_dir": tmp_path / "vectors", "sample_seconds": 30.0, "trigger_seconds": 0.1}
    )
    own = settings.model_copy(update={"lake": Lake(root=str(tmp_path / "lake")), "organize": organize})
    tables.create(spark, own.lake)
    Storage(own.lake.at(network_file.FOLDER), own.s3).upload(Path(embedders.root))
    return own


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> RecordingStage:
    made = RecordingStage()
    monkeypatch.setattr(organizer, "STAGES", (Stage("recorded", "recorded", made.run, made.describe),))
    return made


def embedded(spark: SparkSession, own: Settings) -> Counter[str]:
    return Counter(row.image_id for row in tables.read(spark, own.lake, Table.EMBEDDINGS).collect())


def once_each(numbers: range) -> Counter[str]:
    return Counter(image_id(number) for number in numbers)


def test_all_samples_are_embedded_once_and_go_through_the_stages(
    spark: SparkSession, own: Settings, stage: RecordingStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(organizer, "FEW", 4)  # ten pictures are described on Spark, two in this process
    add_uploads(spark, own, range(12))
    add_samples(spark, own, range(10))  # two have no sample yet
    lines: list[str] = []
    counts = catch_up(spark, own, report=lines.append)
    assert (counts.embedded, counts.staged, counts.waiting) == (10, {"recorded": 10}, 2)
    assert embedded(spark, own) == Counter(stage.images) == once_each(range(10))
    assert len(lines) == 1 and lines[0].startswith("10 images embedded in ")
    index = VectorIndex.open(None, own, MODEL)
    found, vectors = index.vectors_of([image_id(3)])
    assert found == [image_id(3)] and index.search(vectors, 1)[0].tolist() == [[image_id(3)]]

    again = catch_up(spark, own)
    assert (again.embedded, again.staged, again.waiting) == (0, {}, 2)
    add_samples(spark, own, range(10, 12))
    assert catch_up(spark, own).embedded == 2
    assert embedded(spark, own) == Counter(stage.images) == once_each(range(12))


def test_a_stage_that_failed_gets_the_same_images_again_and_nothing_is_embedded_twice(
    spark: SparkSession, own: Settings, stage: RecordingStage
) -> None:
    add_uploads(spark, own, range(6))
    add_samples(spark, own, range(6))
    stage.fails = True
    with pytest.raises(StageFailed, match=r"^recorded: RuntimeError: the stage failed$"):
        catch_up(spark, own)
    assert embedded(spark, own) == once_each(range(6)) and stage.images == []
    assert progress.read(own, MODEL) == {}
    stage.fails = False
    counts = catch_up(spark, own)
    assert (counts.embedded, counts.staged) == (0, {"recorded": 6})
    assert embedded(spark, own) == Counter(stage.images) == once_each(range(6))


def test_a_large_lake_is_read_in_one_pass_that_leaves_nothing_behind(
    spark: SparkSession, own: Settings, stage: RecordingStage
) -> None:
    small = own.model_copy(update={"organize": own.organize.model_copy(update={"chunk_images": 4})})
    for first in (0, 7):
        add_uploads(spark, small, range(first, first + 7))
    add_samples(spark, small, range(14))
    assert catch_up(spark, small).embedded == 14
    assert embedded(spark, small) == Counter(stage.images) == once_each(range(14))
    assert checkpoint_of(small, f"organize-all-{MODEL}").list_files() == []


def test_following_gives_each_upload_its_embedding_when_its_sample_is_there(
    spark: SparkSession, own: Settings, stage: RecordingStage
) -> None:
    add_uploads(spark, own, range(3))
    add_samples(spark, own, range(3))
    for first in (3, 6):  # the second time the query continues at its checkpoint
        stopped, counts, lines = threading.Event(), Counts(), list[str]()
        arguments = (spark, own, stopped, counts, lines.append)
        thread = threading.Thread(target=follow, args=arguments, daemon=True)
        thread.start()
        try:
            wait_until(lambda: any(line.startswith("following the ledger") for line in lines), 60)  # noqa: B023
            with pytest.raises(InUse, match="organize --follow"), organize_lock.following(own):
                pass
            add_uploads(spark, own, range(first, first + 3))
            add_samples(spark, own, range(first, first + 3))
            wait_until(lambda: len(set(stage.images)) == first + 3, 60)  # noqa: B023
        finally:
            stopped.set()
            thread.join(60)
        assert not thread.is_alive()
        assert embedded(spark, own) == Counter(stage.images) == once_each(range(first + 3))
