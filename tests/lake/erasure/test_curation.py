"""What was said about an erased user's images goes, and so do the user's name and watched labels."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pyspark.sql import SparkSession

from conf.sections import Lake
from conf.settings import Settings
from lake import row_writer, tables
from lake.erasure import curation, redaction
from lake.erasure.rules import RULES
from lake.table import Table
from organize.labels.probe import Probe, Projection
from organize.labels.scorer import Scorer

pytestmark = pytest.mark.services

USER = "goner"
OWN, SHARED, OTHER = "a" * 64, "b" * 64, "c" * 64


@pytest.fixture
def own(settings: Settings, spark: SparkSession, tmp_path: Path) -> Settings:
    """Three images: one of the user's alone, one that others sent later, too, and one of others."""
    own = settings.model_copy(update={"lake": Lake(root=str(tmp_path / "lake"))})
    tables.create(spark, own.lake)
    owners = [(OWN, USER, "secret"), (SHARED, USER, "secret"), (SHARED, "ann", "cat"), (OTHER, "ben", "cat")]
    rows = [
        {"image_id": image_id, "user": user, "label": label, "upload_id": f"u{number}", "topic": "t",
         "partition": 0, "offset": number, "verdict": "accepted", "device": f"phone of {user}",
         "event_time": datetime(2026, 11, 1, number, tzinfo=UTC)}
        for number, (image_id, user, label) in enumerate(owners)
    ]  # fmt: skip
    row_writer.append(own, Table.UPLOADS, *rows)
    shared = {"flags": [], "label_source": "claimed", "cluster_distance": 0.1, "outlier": False}
    shared |= {"overall_distance": 0.4, "overall_outlier": False}
    samples = [
        shared | {"image_id": OWN, "label": "secret", "cluster": "secret-1", "overall_cluster": "all-1"},
        shared | {"image_id": SHARED, "label": "bird", "cluster": "bird-1", "overall_cluster": "all-2"}
        | {"label_source": "corrected"},
        shared | {"image_id": OTHER, "label": "cat", "cluster": "cat-1", "overall_cluster": "all-1"},
    ]  # fmt: skip
    row_writer.append(own, Table.SAMPLES, *samples)
    names = ("secret-1", "bird-1", "cat-1", "all-1", "all-2")
    row_writer.append(own, Table.CLUSTERS, *[{"cluster": name, "centroid": b"\0\0"} for name in names])
    decided = [(OWN, "secret", "cat", "ann"), (SHARED, "secret", "bird", USER), (OTHER, "cat", "cat", USER)]
    row_writer.append(
        own,
        Table.DECISIONS,
        *[
            {"decision_id": "dec-1", "kind": "relabel", "image_id": image_id, "label_before": before,
             "label_after": after, "source_before": "claimed", "source_after": "corrected", "user": user}
            for image_id, before, after, user in decided
        ],
    )  # fmt: skip
    row_writer.append(own, Table.WATCHES, {"label": "kiwi", "user": USER}, {"label": "kiwi", "user": "ann"})
    return own


def rows(own: Settings, table: Table, *columns: str) -> list[tuple[Any, ...]]:
    return sorted(tuple(row.values()) for row in row_writer.read(own, table, columns))


def test_clusters_decisions_and_watches_of_an_erased_user(spark: SparkSession, own: Settings) -> None:
    traces = redaction.find_traces(spark, own, USER)
    assert (traces.decisions, traces.watches) == (2, 1)
    for _ in range(2):  # a step that is repeated changes nothing more
        curation.delete_clusters(spark, own.lake, USER)
        redaction.reassign_samples(spark, own.lake, USER)
        curation.redact_decisions(spark, own.lake, USER)
        curation.delete_watches(spark, own.lake, USER)
    assert rows(own, Table.CLUSTERS, "cluster") == [("cat-1",)]
    samples = row_writer.read(own, Table.SAMPLES, ("image_id", "label", "cluster", "overall_cluster", "user"))
    found = {row["image_id"]: (row["label"], row["cluster"], row["overall_cluster"]) for row in samples}
    assert found == {SHARED: ("bird", None, None), OTHER: ("cat", "cat-1", None)}
    columns = ("image_id", "label_before", "label_after", "user")
    decisions = {row["image_id"]: row for row in row_writer.read(own, Table.DECISIONS, columns)}
    assert decisions == {
        SHARED: {"image_id": SHARED, "label_before": None, "label_after": "bird", "user": None},
        OTHER: {"image_id": OTHER, "label_before": "cat", "label_after": "cat", "user": None},
    }
    measured = rows(own, Table.SAMPLES, "image_id", "cluster_distance", "overall_distance", "overall_outlier")
    assert [row[1:] for row in measured] == [(None, None, None), (pytest.approx(0.1), None, None)]
    assert rows(own, Table.WATCHES, "label", "user") == [("kiwi", "ann")]
    assert redaction.find_traces(spark, own, "nobody").watches == 0


def test_the_probe_that_learnt_from_an_erased_image_is_deleted(spark: SparkSession, own: Settings) -> None:
    probe = Scorer(
        ("a", "b"), 2, np.ones(2, np.float32), Projection(*_matrices(4, 2)), Probe(_matrices(3, 2)[1])
    )
    probe.save(own, "net-128")
    assert Scorer.load(own, "net-128") is not None
    erase = RULES[Table.EMBEDDINGS].apply
    assert erase is not None
    for _ in range(2):
        erase(spark, own, USER)
    assert Scorer.load(own, "net-128") is None, "the next check teaches another one"


def _matrices(rows: int, columns: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return np.zeros(rows, np.float32), np.zeros((rows, columns), np.float32)
