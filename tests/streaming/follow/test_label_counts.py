"""The table `labels`: counts, and names as people wrote them."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as f

from conf.sections import Lake
from conf.settings import Settings
from lake import tables
from lake.label_hierarchy import Hierarchy, Label
from lake.label_recount import recount
from lake.schemas import UPLOADS
from lake.table import Table
from streaming.follow.label_counts import LabelCounts

pytestmark = pytest.mark.services

_START = datetime(2026, 11, 21, tzinfo=UTC)
Written = tuple[str, str | None]


@pytest.fixture
def own(settings: Settings, spark: SparkSession, tmp_path: Path) -> Iterator[Settings]:
    lake = Lake(root=str(tmp_path / "lake"))
    listed = tmp_path / "labels.csv"
    listed.write_text("label,parent,display_name\nanimal,,Animal\ncat,animal,House cat\n")
    labels = settings.labels.model_copy(update={"ready_images": 2, "file": listed})
    tables.create(spark, lake)
    spark.sparkContext.setLocalProperty("sql.streaming.queryId", "labels-test")
    yield settings.model_copy(update={"lake": lake, "labels": labels})
    spark.sparkContext.setLocalProperty("sql.streaming.queryId", None)  # type: ignore[arg-type]


def add(spark: SparkSession, own: Settings, batch: int, uploads: Sequence[Written]) -> None:
    """Add a micro-batch of (slug, written name); its last upload arrived first."""
    hierarchy = Hierarchy({"cat": Label("cat", "animal", "House cat")})
    times = [_START + timedelta(hours=batch, seconds=-number) for number in range(len(uploads))]
    slugs, names = [slug for slug, _ in uploads], [name for _, name in uploads]
    table = pa.table(
        {
            "label": pa.array(slugs, pa.string()),
            "label_name": pa.array(names, pa.string()),
            "event_time": pa.array(times),
            "topic": ["images"] * len(uploads),
            "partition": pa.array([0] * len(uploads), pa.int32()),
            "offset": pa.array([100 * batch + number for number in range(len(uploads))]),
        }
    )
    LabelCounts(own, hierarchy).add_uploads(spark, table, batch)


def shown(spark: SparkSession, own: Settings) -> dict[str, tuple[str, int]]:
    rows = tables.read(spark, own.lake, Table.LABELS).collect()
    return {row.label: (row.display_name, row.accepted) for row in rows}


def test_label_is_called_as_it_was_first_written(spark: SparkSession, own: Settings) -> None:
    add(spark, own, 0, [("creme_brulee", "creme_brulee"), ("cat", "CAT"), ("dog", None)])
    assert shown(spark, own) == {
        "creme_brulee": ("creme_brulee", 1),
        "cat": ("House cat", 1),
        "dog": ("dog", 1),
    }
    add(spark, own, 1, [("creme_brulee", "CREME BRULEE"), ("creme_brulee", "Crème brûlée"), ("dog", "Dog")])
    assert shown(spark, own)["creme_brulee"] == ("Crème brûlée", 3), (
        "the first to arrive, and more than the slug"
    )
    add(spark, own, 2, [("creme_brulee", "crème Brûlée"), ("cat", "Kitty")])
    assert shown(spark, own) == {
        "creme_brulee": ("Crème brûlée", 4),
        "cat": ("House cat", 2),
        "dog": ("Dog", 2),
    }


def test_recount_finds_names_in_the_uploads_that_are_left(spark: SparkSession, own: Settings) -> None:
    add(
        spark,
        own,
        0,
        [("creme_brulee", "Crème of ann"), ("cat", "CAT"), ("dog", "Dog of ann"), ("owl", "Owl of ann")],
    )
    left = [
        ("creme_brulee", "crème brûlée", 2),
        ("creme_brulee", "Crème brûlée", 1),
        ("cat", "CAT", 3),
        ("dog", "dog", 4),
    ]
    columns = {field.name: field.dataType for field in UPLOADS}
    rows = [(slug, name, "accepted", _START + timedelta(seconds=second)) for slug, name, second in left]
    uploads = spark.createDataFrame(
        rows, "label string, label_name string, verdict string, event_time timestamp"
    )
    for name in ("topic", "partition", "offset"):
        uploads = uploads.withColumn(name, f.lit(None).cast(columns[name]))
    recount(spark, own, uploads)
    assert shown(spark, own) == {
        "creme_brulee": ("Crème brûlée", 2),
        "cat": ("House cat", 1),
        "dog": ("dog", 1),
    }
