"""Writes the clusters of samples, and the label that a cluster suggests where a sample's own says little."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from conf.settings import Settings
from lake import row_writer, tables
from lake.label_hierarchy import Hierarchy
from lake.label_slug import label_slug
from lake.locks import commit_lease
from lake.row_writer import literal
from lake.schemas import NONE_OF_THESE, SAMPLES
from lake.table import Table
from organize.chunk import UNDECIDED, Chunk
from organize.clusters.centroids import Cluster

SAMPLE_COLUMNS = (
    "cluster", "cluster_distance", "outlier", "overall_cluster", "overall_distance", "overall_outlier",
)  # fmt: skip
_NEEDED = ["image_id", "label", "cluster", "overall_cluster", "overall_outlier"]
_SUGGESTED = "image_id string, suggested_label string, label_reason string"
_FREE = "label_quality IS NULL AND coalesce(label_source, 'claimed') = 'claimed'"


@dataclass(frozen=True)
class Suggester:
    """Suggests the labels of clusters.

    A label is suggested for a picture whose own is unknown (`checks.unknown_labels`) or open: neither in
    labels.csv nor frequent enough for clusters of its own. Its cluster must have one label in
    `clusters.suggest_share` of its images, and the picture must not be an outlier.

    Args:
        suggested: cluster of all labels to the label that it suggests, and why.
        unknown: labels that say nothing.
        listed: labels of labels.csv.
    """

    suggested: dict[str, tuple[str, str]]
    unknown: frozenset[str]
    listed: frozenset[str]

    @classmethod
    def of(cls, clusters: Iterable[Cluster], settings: Settings) -> "Suggester":
        """What clusters suggest."""
        unknown = frozenset(label_slug(name) for name in settings.checks.unknown_labels)
        suggested = {
            each.cluster: (
                each.common_label,
                f"{each.common_share:.0%} of its cluster {each.cluster} ({each.size:,} images) are "
                f"{each.common_label}",
            )
            for each in clusters
            if each.label is None
            and each.common_share >= settings.clusters.suggest_share
            and each.common_label
            and each.common_label not in unknown
        }
        return cls(suggested, unknown, frozenset(Hierarchy.read(settings.labels.file).labels))

    def __call__(self, assigned: pa.RecordBatch) -> pa.RecordBatch:
        """Suggested labels of rows of `assign`: image_id, suggested_label and label_reason."""
        rows = [row for row in map(self._suggestion, assigned.select(_NEEDED).to_pylist()) if row]
        columns = list(zip(*rows, strict=True)) if rows else [(), (), ()]
        arrays = [pa.array(column, pa.string()) for column in columns]
        return pa.RecordBatch.from_arrays(arrays, names=["image_id", "suggested_label", "label_reason"])

    def _suggestion(self, row: dict[str, Any]) -> tuple[str, str, str] | None:
        found = self.suggested.get(row["overall_cluster"])
        own = row["label"]
        is_open = row["cluster"] is None and own is not None and own not in self.listed
        if found is None or row["overall_outlier"] or found[0] == own:
            return None
        return (row["image_id"], *found) if own in self.unknown or is_open else None


def save_assignment(
    spark: SparkSession, settings: Settings, assigned: DataFrame, clusters: Iterable[Cluster]
) -> None:
    """Update the samples with their clusters.

    Args:
        assigned: the result of `assign`.
        clusters: all clusters, for their most frequent labels.
    """
    listed = list(clusters)
    rows = assigned.persist()
    try:
        _update(spark, settings, rows.select("image_id", *SAMPLE_COLUMNS))
        suggested = with_suggestion(rows, listed, settings)
        if suggested is not None:
            _save_suggestions(spark, settings, suggested)
    finally:
        rows.unpersist()


def save_in_chunk(chunk: Chunk, assigned: pa.RecordBatch, clusters: Iterable[Cluster]) -> None:
    """Set the clusters of a few samples, as `save_assignment`."""
    for row in assigned.select(["image_id", *SAMPLE_COLUMNS]).to_pylist():
        chunk.samples.set(**row)
    suggested = {row["image_id"]: row for row in Suggester.of(clusters, chunk.settings)(assigned).to_pylist()}
    if not suggested:
        return
    where = f"image_id IN ({literal(*suggested)}) AND {_FREE}"
    for free in row_writer.read(chunk.settings, Table.SAMPLES, ["image_id"], where):
        chunk.samples.set(**suggested[free["image_id"]])


def leave_clusters(spark: SparkSession, settings: Settings) -> None:
    """Images that show no label, as somebody decided, leave the clusters that they were in."""
    samples = tables.read_complete(spark, settings.lake, Table.SAMPLES)
    excluded = samples.where(f.array_contains("flags", NONE_OF_THESE))
    inside = excluded.where("cluster IS NOT NULL OR overall_cluster IS NOT NULL")
    kinds = {name: SAMPLES[name].dataType for name in SAMPLE_COLUMNS}
    nothing = [f.lit(None).cast(kind).alias(name) for name, kind in kinds.items()]
    _update(spark, settings, inside.select("image_id", *nothing))


def with_suggestion(assigned: DataFrame, clusters: list[Cluster], settings: Settings) -> DataFrame | None:
    """Suggested labels: image_id, suggested_label, label_reason; None if no cluster suggests any."""
    suggest = Suggester.of(clusters, settings)
    if not suggest.suggested:
        return None

    def suggest_all(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if batch.num_rows:
                yield suggest(batch)

    return assigned.select(*_NEEDED).mapInArrow(suggest_all, _SUGGESTED)


def _save_suggestions(spark: SparkSession, settings: Settings, suggested: DataFrame) -> None:
    """Update samples that no label check has judged and nobody has decided about."""
    samples = tables.read_complete(spark, settings.lake, Table.SAMPLES)
    rows = suggested.join(samples.where(_FREE).select("image_id"), "image_id", "left_semi")
    _update(spark, settings, rows, UNDECIDED)


def _update(spark: SparkSession, settings: Settings, rows: DataFrame, where: str = "TRUE") -> None:
    turn = commit_lease.held(settings, Table.SAMPLES)
    tables.update(spark, settings.lake, Table.SAMPLES, rows, "image_id", where, turn)
