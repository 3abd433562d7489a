"""Clusters of new samples as they arrive: a stage of `organize.follow`."""

import pyarrow as pa

from lake.schemas import NONE_OF_THESE
from organize.chunk import Chunk
from organize.clusters import centroids
from organize.clusters.assignment import assign_rows
from organize.clusters.formation import form
from organize.clusters.suggestion import save_in_chunk
from organize.errors import NothingToCheck
from organize.features import embeddings

GROWTH = 2.0  # clusters are formed anew when the lake has this many times the images that formed them


def cluster_images(chunk: Chunk) -> int:
    """Give new images their nearest clusters, or form clusters if there are none or the lake has doubled.

    Returns:
        the number of images that got a cluster; 0 while there are too few for clusters.
    """
    settings, images = chunk.settings, len(chunk.images)
    clusters = centroids.read(settings, chunk.model_id)
    formed_of = sum(each.size for each in clusters if each.label is None)
    embedded = embeddings.count(settings, chunk.model_id)
    if embedded >= max(settings.clusters.min_images, GROWTH * formed_of):
        chunk.samples.write()
        try:
            return min(form(chunk.spark, settings, chunk.model_id).images, images)
        except NothingToCheck:  # of these images, some are left out or have no vector
            return 0
    if not clusters or not images:
        return 0
    flags = chunk.images["flags"].to_pylist()
    shown = chunk.images.filter(pa.array([NONE_OF_THESE not in (each or ()) for each in flags], pa.bool_()))
    if len(shown):
        save_in_chunk(chunk, assign_rows(shown, centroids.by_label(clusters)), clusters)
    return images
