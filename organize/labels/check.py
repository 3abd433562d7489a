"""The label check on tables: samples and embeddings in; quality, suggestion and reason out."""

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from threadpoolctl import threadpool_limits

from conf.settings import Settings
from lake import tables
from lake.locks import commit_lease
from lake.locks.organize_lock import Turn
from lake.table import Table
from organize.chunk import UNDECIDED
from organize.errors import NothingToCheck
from organize.features import embeddings
from organize.features.vectors import Vectors, to_vectors
from organize.labels import judgement, verdicts
from organize.labels.judged_samples import is_unknown, judged_samples, read_samples
from organize.labels.scorer import Scorer
from organize.labels.scoring import JUDGE, scores
from organize.labels.verdicts import LabelVerdict
from organize.unchanged import refuse_if_erased


@dataclass(frozen=True)
class Checked:
    """The result of a label check.

    Args:
        model_id: whose embeddings, or whose predictions, were used.
        checked: number of labels that were judged.
        doubtful: label to number of its images for which another label is suggested.
        not_checked: reason to number of images that were not judged.
        seconds: of the whole check.
        seconds_judging: of it, without reading and writing tables.
    """

    model_id: str
    checked: int
    doubtful: dict[str, int]
    not_checked: dict[str, int]
    seconds: float
    seconds_judging: float


@dataclass(frozen=True)
class LabelledVectors:
    """Samples with embeddings, in the order of their image ids.

    Args:
        samples: columns of `read_samples`.
        vectors: float32 (rows, numbers).
        rest: number of further samples that have an embedding.
    """

    samples: pa.Table
    vectors: Vectors
    rest: int = 0


def check_labels(spark: SparkSession, settings: Settings, model_id: str, turn: Turn = nullcontext) -> Checked:
    """Judge the labels of all samples by the embeddings of a model, and save the scorer of new uploads.

    Labels that a person has decided about teach the probe, and are not judged. Images that arrive meanwhile
    are scored, too.

    Args:
        turn: holds up the organizing of new images; it is held while the scorer is saved, not while labels
            are judged, which takes most of the time.

    Raises:
        NothingToCheck: there are no embeddings yet, or fewer than two labels with enough images.
        ErasedMeanwhile: an image that was judged is gone; the scorer was not saved.
    """
    began = time.monotonic()
    found, without = read(spark, settings, model_id)
    started = time.monotonic()
    results, counts, scorer = judge_rows(found, settings)
    judged = time.monotonic() - started
    write(spark, settings, results)
    judged_ids = spark.createDataFrame(found.samples.select(["image_id"]))
    scored = _score_others(spark, settings, model_id, scorer, judged_ids) if found.rest else 0
    with turn():
        refuse_if_erased(spark, settings, judged_ids)
        _score_others(spark, settings, model_id, scorer, judged_ids, "NOT scored")
        scorer.save(settings, model_id)  # last: until then the next command checks all labels again
    if without:
        counts["no embedding yet"] = without
    if found.rest > scored:
        counts["beyond checks.judged_images, and of no judged label"] = found.rest - scored
    return summarize(model_id, found.samples, results, counts, (time.monotonic() - began, judged))


def read(spark: SparkSession, settings: Settings, model_id: str) -> tuple[LabelledVectors, int]:
    """Read the samples that have an embedding of a model; and the number of those that have none.

    Of more than `checks.judged_images` it reads as many, chosen by the hash of their ids.

    Raises:
        NothingToCheck: no sample has one.
    """
    samples = read_samples(spark, settings)
    total, limit = samples.count(), settings.checks.judged_images
    embedded = samples.join(embeddings.of_model(spark, settings, model_id), "image_id", "left_semi")
    count = embedded.count()
    if not count:
        raise NothingToCheck(
            f"no sample has an embedding of {model_id}: run `hub organize --once` first"
            if total
            else f"no samples in {settings.lake.root}: run `hub push` and `hub ingest --once` first"
        )
    hashed = embedded.orderBy(f.xxhash64("image_id"), "image_id").limit(limit)
    chosen = embedded if count <= limit else hashed
    joined = chosen.join(embeddings.vectors(spark, settings, model_id), "image_id").toArrow()
    joined = joined.take(pc.sort_indices(joined, [("image_id", "ascending")]))
    found = LabelledVectors(
        joined.drop_columns("vector"), to_vectors(joined["vector"]), max(0, count - limit)
    )
    return found, total - count


def _score_others(
    spark: SparkSession,
    settings: Settings,
    model_id: str,
    scorer: Scorer,
    judged: DataFrame,
    where: str = "TRUE",
) -> int:
    """Score samples that were not among the judged ones, on Spark; returns their number."""
    samples = read_samples(spark, settings).where(f"NOT decided AND NOT excluded AND {where}")
    others = samples.join(judged, "image_id", "left_anti")
    pictures = others.join(embeddings.vectors(spark, settings, model_id), "image_id")
    rows = scores(pictures, scorer, settings).persist()
    try:
        turn = commit_lease.held(settings, Table.SAMPLES)
        tables.update(spark, settings.lake, Table.SAMPLES, rows, "image_id", UNDECIDED, turn)
        return rows.count()
    finally:
        rows.unpersist()


def judge_rows(
    found: LabelledVectors, settings: Settings
) -> tuple[dict[str, LabelVerdict], Counter[str], Scorer]:
    """Judge labels by embeddings.

    Returns:
        verdicts by image id; reason to number of images that were not judged; the scorer of new uploads.

    Raises:
        NothingToCheck: fewer than two labels have enough images.
    """
    own = judged_samples(found.samples, settings)
    vectors, names = found.vectors[own.rows], own.names
    # Threads of OpenBLAS spin while they wait for each other: beside other processes small matrices take 30
    # times as long with them.
    with threadpool_limits(1):
        judged = judgement.judge(
            vectors, own.labels, own.groups, len(names), settings.checks.folds, settings.organize.seed
        )
        scorer = Scorer.fit(
            vectors, own.labels, names, judged.probabilities, judged.penalty, len(found.vectors) + found.rest
        )
    of_own = verdicts.of_cross_validation(
        names, own.labels, judged.probabilities, judged.quality, judged.issues, judged.near, JUDGE
    )
    results = dict(zip(own.image_ids.tolist(), of_own, strict=True))
    results |= _score_unjudged(found, settings, scorer)
    for image_id, decided in zip(
        *(found.samples[name].to_pylist() for name in ("image_id", "decided")), strict=True
    ):
        if decided:
            results.pop(image_id, None)
    return results, Counter(own.not_judged), scorer


def _score_unjudged(found: LabelledVectors, settings: Settings, scorer: Scorer) -> dict[str, LabelVerdict]:
    """Verdicts on samples with a label conflict or an unknown label, which teach nothing."""
    labels = np.asarray(found.samples["label"].to_pylist())
    unknown = is_unknown(labels, settings)
    excluded = np.asarray(found.samples["excluded"].to_pylist(), bool)
    others = np.flatnonzero((np.asarray(found.samples["conflict"].to_pylist(), bool) | unknown) & ~excluded)
    if not len(others):
        return {}
    claims = [None if unknown[row] else str(labels[row]) for row in others]
    scores = verdicts.of_scores(
        scorer.labels, claims, scorer.probabilities(found.vectors[others]), scorer.thresholds, JUDGE
    )
    ids = found.samples["image_id"].take(pa.array(others)).to_pylist()
    return {image_id: each for image_id, each in zip(ids, scores, strict=True) if each is not None}


def write(spark: SparkSession, settings: Settings, results: dict[str, LabelVerdict]) -> None:
    """Update the samples with verdicts; rows that have them already are not rewritten.

    Somebody may decide about a label in this moment: that sample stays as it is.
    """
    if not results:
        return
    rows = pa.table(
        {
            "image_id": pa.array(list(results)),
            "label_quality": pa.array([each.quality for each in results.values()], pa.float32()),
            "suggested_label": pa.array([each.suggested for each in results.values()], pa.string()),
            "label_reason": pa.array([each.reason for each in results.values()], pa.string()),
        }
    )
    verdict_rows = spark.createDataFrame(rows)
    turn = commit_lease.held(settings, Table.SAMPLES)
    tables.update(spark, settings.lake, Table.SAMPLES, verdict_rows, "image_id", UNDECIDED, turn)


def summarize(
    model_id: str,
    samples: pa.Table,
    results: dict[str, LabelVerdict],
    not_checked: Counter[str],
    seconds: tuple[float, float],
) -> Checked:
    """The numbers of a check."""
    labels: Sequence[Any] = samples["label"].to_pylist()
    by_image = dict(zip(samples["image_id"].to_pylist(), labels, strict=True))
    doubtful = Counter(by_image[image_id] for image_id, each in results.items() if each.suggested)
    return Checked(model_id, len(results), dict(doubtful.most_common()), dict(not_checked), *seconds)
