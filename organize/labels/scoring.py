"""Scores labels on Spark by the saved probe: of uploads as they arrive, and of samples beyond the judged."""

from collections.abc import Callable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame

from conf.settings import Settings
from lake.label_slug import label_slug
from organize.features.vectors import to_vectors
from organize.labels import verdicts
from organize.labels.scorer import Scorer

JUDGE = "a probe of embeddings"
SCORED = "image_id string, label_quality float, suggested_label string, label_reason string"


def scores(pictures: DataFrame, scorer: Scorer, settings: Settings) -> DataFrame:
    """Score the labels of pictures.

    Args:
        pictures: with image_id, label and vector.

    Returns:
        columns `SCORED`; pictures with a label that the scorer does not know are left out.
    """
    unknown = frozenset(label_slug(name) for name in settings.checks.unknown_labels)
    return pictures.select("image_id", "label", "vector").mapInArrow(_scorer(scorer, unknown), SCORED)


def _scorer(
    scorer: Scorer, unknown: frozenset[str]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if batch.num_rows:
                yield score_batch(batch, scorer, unknown)

    return score


def score_batch(batch: pa.RecordBatch, scorer: Scorer, unknown: frozenset[str]) -> pa.RecordBatch:
    """Score a batch of image_id, label and vector, as `scores`."""
    claims = [None if label in unknown else label for label in batch["label"].to_pylist()]
    probabilities = scorer.probabilities(to_vectors(batch["vector"]))
    found = verdicts.of_scores(scorer.labels, claims, probabilities, scorer.thresholds, JUDGE)
    rows = [
        (image_id, each.quality, each.suggested, each.reason)
        for image_id, each in zip(batch["image_id"].to_pylist(), found, strict=True)
        if each is not None
    ]
    columns = list(zip(*rows, strict=True)) if rows else [(), (), (), ()]
    kinds = (pa.string(), pa.float32(), pa.string(), pa.string())
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    return pa.RecordBatch.from_arrays(
        arrays, names=["image_id", "label_quality", "suggested_label", "label_reason"]
    )
