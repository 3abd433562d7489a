"""The stage of duplicates: gives each new image its group, from the nearest embeddings and hashes."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from conf.settings import Settings
from organize.chunk import Chunk
from organize.duplicates.grouping import Grouping, Neighbours, opened_store
from organize.features.vectors import to_vectors
from organize.index.vector_index import VectorIndex


def group(chunk: Chunk) -> int:
    """Give images their groups (columns `duplicate_group` of `samples`, table `groups`). Idempotent.

    Args:
        chunk: its images have width, height, phash and vector, and the columns of `prints.with_prints`.

    Returns:
        number of images.
    """
    spark, settings = chunk.spark, chunk.settings

    def neighbours(image_ids: Sequence[str]) -> Neighbours:
        return nearest(VectorIndex.open(spark, settings, chunk.model_id), chunk.images, settings)

    with opened_store(spark, settings) as store:
        grouping = Grouping(spark, settings, store, chunk.samples)
        return grouping.group(chunk.images, neighbours)


def nearest(index: VectorIndex, images: pa.Table, settings: Settings) -> dict[str, list[str]]:
    """Each image with the images whose embeddings are near, the nearest first.

    Args:
        index: of the model of the vectors.
        images: with image_id and vector, without nulls.
    """
    config = settings.organize
    if not len(images):
        return {}
    found, cosines = index.search(to_vectors(images["vector"]), config.duplicate_neighbours + 1)
    near = np.where(cosines >= config.duplicate_cosine, found, "")
    return {
        image_id: [other for other in others.tolist() if other and other != image_id]
        for image_id, others in zip(images["image_id"].to_pylist(), near, strict=True)
    }
