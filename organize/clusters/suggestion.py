"""Writes the clusters of samples, and the label that a cluster suggests where a sample's own says little."""

from collections.abc import Iterable

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f

from conf.settings import Settings
from lake import tables
from lake.label_hierarchy import Hierarchy
from lake.label_slug import label_slug
from lake.table import Table
from organize.clusters.centroids import Cluster

_SAMPLE_COLUMNS = ("cluster", "cluster_distance", "outlier", "overall_cluster")


def save_assignment(
    spark: SparkSession, settings: Settings, assigned: DataFrame, clusters: Iterable[Cluster]
) -> int:
    """Update the samples with their clusters; returns the number of outliers.

    Args:
        assigned: the result of `assign`.
        clusters: all clusters, for their most frequent labels.
    """
    listed = list(clusters)
    rows = assigned.persist()
    try:
        tables.update(
            spark, settings.lake, Table.SAMPLES, rows.select("image_id", *_SAMPLE_COLUMNS), "image_id"
        )
        suggested = with_suggestion(rows, listed, settings)
        if suggested is not None:
            _save_suggestions(spark, settings, suggested)
        return rows.where("outlier").count()
    finally:
        rows.unpersist()


def with_suggestion(assigned: DataFrame, clusters: list[Cluster], settings: Settings) -> DataFrame | None:
    """Suggested labels: image_id, suggested_label, label_reason; None if no cluster suggests any.

    A label is suggested for a picture whose own is unknown (`checks.unknown_labels`) or open: neither in
    labels.csv nor frequent enough for clusters of its own. Its cluster must have one label in
    `clusters.suggest_share` of its images, and the picture must not be an outlier.
    """
    sure = [
        each
        for each in clusters
        if each.label is None and each.common_share >= settings.clusters.suggest_share
    ]
    unknown = [label_slug(name) for name in settings.checks.unknown_labels]
    sure = [each for each in sure if each.common_label not in unknown]
    if not sure:
        return None
    label = _lookup({each.cluster: each.common_label or "" for each in sure})
    why = _lookup(
        {
            each.cluster: f"{each.common_share:.0%} of its cluster {each.cluster} ({each.size:,} images) are "
            f"{each.common_label}"
            for each in sure
        }
    )
    listed = list(Hierarchy.read(settings.labels.file).labels)
    is_open = f.col("cluster").isNull() & ~f.col("label").isin(listed)
    wanted = (f.col("label").isin(unknown) | is_open) & ~f.col("overall_outlier")
    return (
        assigned.where(wanted)
        .select("image_id", "label", label.alias("suggested_label"), why.alias("label_reason"))
        .where("suggested_label IS NOT NULL AND suggested_label <> label")
        .drop("label")
    )


def _lookup(values: dict[str, str]) -> Column:
    pairs = [f.lit(part) for pair in values.items() for part in pair]
    return f.create_map(*pairs)[f.col("overall_cluster")]


def _save_suggestions(spark: SparkSession, settings: Settings, suggested: DataFrame) -> None:
    """Update samples that no label check has judged and nobody has decided about."""
    samples = tables.read_complete(spark, settings.lake, Table.SAMPLES)
    free = samples.where("label_quality IS NULL AND coalesce(label_source, 'claimed') = 'claimed'")
    rows = suggested.join(free.select("image_id"), "image_id", "left_semi")
    tables.update(spark, settings.lake, Table.SAMPLES, rows, "image_id")
