"""The stage of duplicates: gives each new image its group, from the nearest embeddings and hashes."""

from collections.abc import Sequence

import numpy as np
from pyspark.sql import DataFrame, SparkSession

from conf.settings import Settings
from organize.duplicates.grouping import Grouping, Neighbours, opened_store
from organize.features.vectors import to_vectors
from organize.index.vector_index import VectorIndex


def group(spark: SparkSession, settings: Settings, images: DataFrame, model_id: str) -> int:
    """Give images their groups (columns `duplicate_group` of `samples`, table `groups`). Idempotent.

    Args:
        images: with image_id, jpeg, width, height, phash and vector.
        model_id: of the vectors.

    Returns:
        number of images.
    """

    def neighbours(image_ids: Sequence[str]) -> Neighbours:
        return nearest(VectorIndex.open(spark, settings, model_id), images, settings)

    with opened_store(spark, settings) as store:
        return Grouping(spark, settings, store).group(images, neighbours)


def nearest(index: VectorIndex, images: DataFrame, settings: Settings) -> dict[str, list[str]]:
    """Each image with the images whose embeddings are near, the nearest first.

    Args:
        index: of the model of the vectors.
        images: with image_id and vector.
    """
    config = settings.organize
    rows = images.select("image_id", "vector").where("vector IS NOT NULL").toArrow()
    if not len(rows):
        return {}
    image_ids = rows["image_id"].to_pylist()
    found, cosines = index.search(to_vectors(rows["vector"]), config.duplicate_neighbours + 1)
    near = np.where(cosines >= config.duplicate_cosine, found, "")
    return {
        image_id: [other for other in others.tolist() if other and other != image_id]
        for image_id, others in zip(image_ids, near, strict=True)
    }
