"""The stage of duplicates: gives each new image its group, from the nearest embeddings and hashes."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from conf.settings import Settings
from organize.chunk import Chunk
from organize.duplicates.grouping import Grouping, Neighbours, opened_store
from organize.duplicates.search import ImagePair
from organize.features.vectors import to_vectors
from organize.index.vector_index import VectorIndex

_PAIRS = 2000  # whose vectors are in memory at once


def group(chunk: Chunk) -> int:
    """Give images their groups (columns `duplicate_group` of `samples`, table `groups`). Idempotent.

    Args:
        chunk: its images have width, height, phash and vector, and the columns of `prints.with_prints`.

    Returns:
        number of images.
    """
    spark, settings = chunk.spark, chunk.settings

    index = VectorIndex.open(spark, settings, chunk.model_id)

    def neighbours(image_ids: Sequence[str]) -> Neighbours:
        return nearest(index, chunk.images, settings)

    def cosines(pairs: Sequence[ImagePair]) -> Mapping[ImagePair, float]:
        return cosines_of(index, pairs)

    with opened_store(spark, settings) as store:
        grouping = Grouping(spark, settings, store, chunk.samples)
        return grouping.group(chunk.images, neighbours, cosines)


def cosines_of(index: VectorIndex, pairs: Sequence[ImagePair]) -> dict[ImagePair, float]:
    """The cosines of pairs of which the index has both images, to 4 decimals, whatever came with them."""
    found: dict[ImagePair, float] = {}
    for start in range(0, len(pairs), _PAIRS):
        part = pairs[start : start + _PAIRS]
        image_ids, vectors = index.vectors_of([image_id for pair in part for image_id in pair])
        row_of = {image_id: row for row, image_id in enumerate(image_ids)}
        for one, other in part:
            if one in row_of and other in row_of:
                cosine = float(vectors[row_of[one]] @ vectors[row_of[other]])
                found[one, other] = round(cosine, 4)
    return found


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
