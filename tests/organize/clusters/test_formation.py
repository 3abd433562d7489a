"""Clusters on real tables: their ids stay, new pictures find them, and unknown labels get a suggestion."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from delta import DeltaTable
from pyspark.sql import SparkSession

from conf.sections import Lake
from conf.settings import Settings
from lake import row_writer, tables
from lake.locks.organize_lock import Turn
from lake.table import Table
from organize.clusters import completion, formation
from organize.clusters.formation import form
from organize.clusters.stage import cluster_images, formation_is_due
from organize.errors import ErasedMeanwhile, NothingToCheck
from organize.review import decision_log
from organize.review.decisions import Kind, Wish
from tests.organize import embedded_lake
from tests.organize.embedded_lake import MODEL, blobs, chunk_of, fill

pytestmark = pytest.mark.services

_COLUMNS = (
    "image_id", "label", "cluster", "overall_cluster", "cluster_distance", "outlier", "suggested_label",
    "label_reason", "overall_distance", "overall_outlier", "flags",
)  # fmt: skip


@pytest.fixture
def own(settings: Settings, tmp_path: Path) -> Settings:
    """Clusters of at least 10 images."""
    clusters = settings.clusters.model_copy(update={"min_images": 10})
    return settings.model_copy(update={"lake": Lake(root=str(tmp_path / "lake")), "clusters": clusters})


def samples(own: Settings) -> dict[str, dict[str, Any]]:
    return {row["image_id"]: row for row in row_writer.read(own, Table.SAMPLES, _COLUMNS)}


def clusters(own: Settings) -> list[dict[str, Any]]:
    names = ("cluster", "label", "model_id", "size", "radius", "common_label", "common_share", "created")
    return sorted(row_writer.read(own, Table.CLUSTERS, names), key=lambda row: row["cluster"])


@pytest.mark.faults  # it takes a minute
def test_clusters_are_formed_kept_and_followed(
    spark: SparkSession, own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NothingToCheck, match=r"0 samples have an embedding of .*, clusters need 10"):
        tables.create(spark, own.lake)
        form(spark, own, MODEL)

    # Two kinds of cats, one of dogs, a few owls; and dogs that came as "Unknown".
    truth = [0] * 40 + [1] * 40 + [2] * 40 + [3] * 4 + [2] * 3
    labels = ["cat"] * 80 + ["dog"] * 40 + ["owl"] * 4 + ["unknown"] * 3
    vectors = blobs(truth)
    vectors[0] = -vectors[0]
    ids = fill(spark, own, labels, vectors)
    formed = form(spark, own, MODEL)
    assert formed.labels_without == ("owl", "unknown") and formed.images == 127
    by_label = [(row["label"], row["size"]) for row in clusters(own) if row["label"]]
    assert [label for label, _ in sorted(by_label)] == ["cat", "cat", "dog"]
    assert sum(size for _, size in by_label) == 120
    found = samples(own)
    assert found[ids[0]]["outlier"] and not found[ids[1]]["outlier"]
    assert found[ids[0]]["overall_outlier"]
    assert not any(found[each]["overall_outlier"] for each in ids[80:120])
    far = found[ids[0]]["overall_distance"]
    assert all(0 < found[each]["overall_distance"] < far for each in ids[80:120])
    kinds = [{found[each]["cluster"] for each in ids[a:b]} for a, b in ((1, 40), (40, 80), (80, 120))]
    assert [len(kind) for kind in kinds] == [1, 1, 1] and len(set.union(*kinds)) == 3
    assert found[ids[120]]["cluster"] is None and found[ids[120]]["overall_cluster"] is not None
    assert {found[each]["suggested_label"] for each in ids[124:]} == {"dog"}
    reason = found[ids[124]]["label_reason"]
    assert "of its cluster all-" in reason and reason.endswith("are dog")
    assert {found[each]["suggested_label"] for each in ids[:80]} == {None}

    # Killed after the table of clusters, before the samples; then formed again: nothing is rewritten.
    before = clusters(own), found
    version = tables.version(spark, own.lake, Table.SAMPLES)
    assert not formation_is_due(own, MODEL)
    with monkeypatch.context() as patch:
        patch.setattr(formation, "save_assignment", _killed)
        with pytest.raises(KeyboardInterrupt):
            form(spark, own, MODEL)
    assert formation_is_due(own, MODEL)
    # This time each label is a Spark task, as there are as many pictures as centroids are computed from.
    all_of_them = own.clusters.model_copy(update={"sample_images": formed.images})
    again = form(spark, own.model_copy(update={"clusters": all_of_them}), MODEL)
    assert (clusters(own), samples(own)) == before and again.kept == len(again.clusters)
    assert tables.version(spark, own.lake, Table.SAMPLES) == version

    # A picture that shows no label, as somebody decided, is in no cluster any more.
    decision_log.decide(own, [Wish(ids[1], Kind.NONE_OF_THESE)], "ann")
    stale = {"image_id": ids[1], "cluster": found[ids[1]]["cluster"]}
    row_writer.update(own, Table.SAMPLES, "image_id", stale)  # as an older hub left it
    assert form(spark, own, MODEL).images == 126
    left = samples(own)[ids[1]]
    assert left["cluster"] is None and left["overall_cluster"] is None
    decision_log.decide(own, [Wish(ids[1], Kind.UNDO)], "ann")
    form(spark, own, MODEL)
    assert samples(own)[ids[1]]["cluster"] == found[ids[1]]["cluster"]
    # Clusters of an older hub, which left no note, are formed anew once.
    completion.begin(own, MODEL)
    assert formation_is_due(own, MODEL)
    completion.finish(own, MODEL)

    # New pictures get the nearest cluster without a new formation.
    new = fill(spark, own, ["dog", "cat"], blobs([2, 1], seed=5), first=1000)
    assert not formation_is_due(own, MODEL)
    chunk = chunk_of(spark, own, new)
    assert cluster_images(chunk) == 2 and chunk.samples.write() == 2
    assert {row["cluster"] for row in clusters(own)} == {row["cluster"] for row in before[0]}
    assert samples(own)[new[0]]["cluster"] in kinds[2] and samples(own)[new[1]]["cluster"] in kinds[1]
    # Twice as many form them anew: the old ones keep their ids.
    more = fill(spark, own, ["horse"] * 130, blobs([4] * 130, seed=6), first=2000)
    assert formation_is_due(own, MODEL)
    form(spark, own, MODEL)
    assert not formation_is_due(own, MODEL)
    ids_before = {row["cluster"] for row in before[0] if row["label"]}
    assert ids_before < {row["cluster"] for row in clusters(own)}
    assert samples(own)[more[0]]["cluster"].startswith("horse-")


def _killed(*_: object) -> int:
    raise KeyboardInterrupt


@pytest.mark.faults  # it forms clusters twice; tests/organize/labels/test_check.py has the same of labels
def test_images_that_come_or_are_erased_while_clusters_are_computed(
    spark: SparkSession, own: Settings
) -> None:
    ids = fill(spark, own, ["cat"] * 12, blobs([0] * 12))
    new: list[str] = []

    def arrive() -> None:
        new.extend(fill(spark, own, ["cat", "owl"], blobs([0, 1], seed=3), first=500))
        row_writer.update(own, Table.SAMPLES, "image_id", {"image_id": ids[1], "label": "owl"})

    def erase() -> None:
        DeltaTable.forPath(spark, own.lake.at(Table.SAMPLES)).delete(f"image_id = '{ids[2]}'")

    assert form(spark, own, MODEL, _when_computed(arrive)).images == 12
    found = samples(own)
    assert found[new[0]]["cluster"] == found[ids[0]]["cluster"] is not None
    assert found[new[1]]["cluster"] is None and found[new[1]]["overall_cluster"] is not None
    assert found[ids[1]]["cluster"] is None and found[ids[1]]["overall_cluster"] is not None

    before = clusters(own)
    with pytest.raises(ErasedMeanwhile, match=r"^1 images were erased while .* run it again$"):
        form(spark, own, MODEL, _when_computed(erase))
    assert clusters(own) == before and not formation_is_due(own, MODEL)


def _when_computed(act: Callable[[], None]) -> Turn:
    """Turns of a formation: something happens at the second, before the first that writes clusters."""
    taken: list[None] = []

    @contextmanager
    def turn() -> Iterator[None]:
        taken.append(None)
        if len(taken) == 2:
            act()
        yield

    return turn


def test_vectors_of_another_model_are_not_mixed_in(spark: SparkSession, own: Settings) -> None:
    ids = fill(spark, own, ["cat"] * 12, blobs([0] * 12))
    rows = [{"image_id": each, "model_id": "other", "vector": b"\0\0" * 8} for each in ids]
    row_writer.append(own, Table.EMBEDDINGS, *rows)
    assert form(spark, own, MODEL).images == 12
    assert {row["model_id"] for row in clusters(own)} == {MODEL}
    assert embedded_lake.image_id(0) == ids[0]
