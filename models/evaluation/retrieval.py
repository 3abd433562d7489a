"""Retrieval at 1: is the picture whose embedding is nearest to a test picture's one of the same label?

Test pictures are compared with those of train and validation (the gallery). In a dataset that is split by
label no test label is in these, so each test picture is compared with the other test pictures.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lake.snapshot import DatasetSnapshot, Split
from models.evaluation.metrics import Evaluation, Predict, evaluate, predict_batches
from models.nets.verification import Embeddings, retrieve
from models.pictures.inputs import ImageSource

GALLERY_PICTURES = 50_000  # most pictures of train in the gallery; rows are in random order


def gallery_rows(snapshot: DatasetSnapshot) -> dict[Split, int]:
    """How many first rows of other splits test pictures are compared with; none if it is split by label."""
    if snapshot.split_by_label:
        return {}
    rows = {split: snapshot.row_count(split) for split in (Split.VALIDATION, Split.TRAIN)}
    return rows | {Split.TRAIN: min(rows[Split.TRAIN], GALLERY_PICTURES)}


def embed_all(predict: Predict, pictures: ImageSource, side: int) -> Embeddings:
    """Compute the embeddings of all pictures."""
    parts = [outputs for outputs, _ in predict_batches(predict, pictures, side)]
    vectors = np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)
    return Embeddings(pictures.image_ids, pictures.labels, vectors.astype(np.float32))


def evaluate_retrieval(
    labels: tuple[str, ...], queries: Embeddings, gallery: Embeddings | None
) -> Evaluation:
    """Evaluate embeddings by the label of each test picture's nearest neighbour: accuracy is retrieval at 1.

    Args:
        labels: label names.
        queries: embeddings of the test pictures.
        gallery: embeddings of the pictures to compare with; None for the other test pictures.
    """
    found = retrieve(queries, gallery)
    image_ids = [queries.image_ids[row] for row in found.rows]
    true = queries.labels[found.rows]
    evaluation = evaluate(labels, image_ids, true, found.labels, found.similarity, rows=found.rows)
    place = (
        "the other test pictures"
        if gallery is None
        else f"{len(gallery.labels):,} pictures of train and validation"
    )
    protocol = f"the nearest of {place} has the label of the test picture"
    return replace(evaluation, protocol=protocol, left_out=len(queries.labels) - len(found.rows))


def sum_retrieval_metrics(predict: Predict, pictures: ImageSource, side: int) -> NDArray[np.float64]:
    """Like `sum_metrics` for embeddings: correct if the nearest other picture has the same label.

    Pictures without another one of their label do not count. The loss is NaN.
    """
    embeddings = embed_all(predict, pictures, side)
    found = retrieve(embeddings)
    correct = (found.labels == embeddings.labels[found.rows]).sum()
    return np.array([np.nan, correct, len(found.rows)])
