"""Clusters of new samples as they arrive: a stage of `organize.follow`."""

from pyspark.sql import DataFrame, SparkSession

from conf.settings import Settings
from organize.clusters import centroids
from organize.clusters.assignment import assign
from organize.clusters.formation import form
from organize.clusters.suggestion import save_assignment
from organize.errors import NothingToCheck
from organize.features import embeddings

GROWTH = 2.0  # clusters are formed anew when the lake has this many times the images that formed them


def cluster_images(spark: SparkSession, settings: Settings, images: DataFrame, model_id: str) -> int:
    """Give new images their nearest clusters, or form clusters if there are none or the lake has doubled.

    Returns:
        the number of images that got a cluster; 0 while there are too few for clusters.
    """
    clusters = centroids.load(spark, settings, model_id)
    formed_of = sum(each.size for each in clusters if each.label is None)
    embedded = embeddings.of_model(spark, settings, model_id).count()
    if embedded >= max(settings.clusters.min_images, GROWTH * formed_of):
        try:
            return min(form(spark, settings, model_id).images, images.count())
        except NothingToCheck:  # of these images, some are left out or have no vector
            return 0
    if not clusters:
        return 0
    save_assignment(spark, settings, assign(images, centroids.by_label(clusters)), clusters)
    return images.count()
