"""Clusters of new samples as they arrive: a stage of `organize.follow`, and when clusters are formed anew."""

import pyarrow as pa

from conf.settings import Settings
from lake.schemas import NONE_OF_THESE
from organize.chunk import Chunk
from organize.clusters import centroids, completion
from organize.clusters.assignment import assign_rows
from organize.clusters.suggestion import save_in_chunk
from organize.features import embeddings

GROWTH = 2.0  # clusters are formed anew when the lake has this many times the images that formed them


def cluster_images(chunk: Chunk) -> int:
    """Give new images their nearest clusters.

    Returns:
        the number of images that got a cluster; 0 before clusters are formed.
    """
    clusters = centroids.read(chunk.settings, chunk.model_id)
    if not clusters or not len(chunk.images):
        return 0
    flags = chunk.images["flags"].to_pylist()
    shown = chunk.images.filter(pa.array([NONE_OF_THESE not in (each or ()) for each in flags], pa.bool_()))
    if len(shown):
        save_in_chunk(chunk, assign_rows(shown, centroids.by_label(clusters)), clusters)
    return len(chunk.images)


def formation_is_due(settings: Settings, model_id: str) -> bool:
    """Whether clusters are formed now: there are none, they are incomplete, or the lake has doubled."""
    embedded = embeddings.count(settings, model_id)
    if embedded < settings.clusters.min_images:
        return False
    if not completion.is_complete(settings, model_id):
        return True
    formed_of = sum(each.size for each in centroids.read(settings, model_id) if each.label is None)
    return embedded >= GROWTH * formed_of
