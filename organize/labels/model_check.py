"""The second tier by a model of the hub: it judges the labels of pictures that it was not trained on."""

import time
from collections import Counter

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from conf.settings import Settings
from lake import tables
from lake.errors import DamagedSnapshot
from lake.job_failures import job_errors
from lake.label_slug import label_slug
from lake.schemas import NONE_OF_THESE
from lake.snapshot import DatasetSnapshot, Split
from lake.spark.session_properties import arrow_batch_limits, temporary_properties
from lake.storage import Storage
from lake.table import Table
from models.formats.export import TFLITE
from models.registry import model_cards
from models.registry.model_cards import ModelCard
from models.workers import initial_weights
from organize.errors import NothingToCheck
from organize.labels import check, scorer, verdicts
from organize.labels.check import Checked
from organize.labels.model_scores import LabelNetwork, with_probabilities
from organize.labels.probe import Floats
from organize.labels.verdicts import LabelVerdict

_BATCH, _BATCH_BYTES = 256, 16 * 2**20


def check_by_model(spark: SparkSession, settings: Settings, model_id: str) -> Checked:
    """Judge the labels of all samples that a model, and those that it started from, did not learn.

    Near duplicates of what it learnt are left out, too, and so are labels that it does not know.

    Raises:
        UnknownModel, UnusableModel: no model has this id, or it is not ready.
        UsageError: it outputs embeddings.
        NothingToCheck: it has learnt all samples, or knows none of their labels.
    """
    began = time.monotonic()
    card = model_cards.classifier_card(settings, model_id)
    unknown = [label_slug(name) for name in settings.checks.unknown_labels]
    pictures, counts = _unseen(spark, settings, card, unknown)
    files = model_cards.artifact_storage(settings, model_id)
    LabelNetwork(files.read(TFLITE), card)  # a file that does not fit is one error here, not one per task
    with (
        temporary_properties(spark, arrow_batch_limits(_BATCH, _BATCH_BYTES)),
        job_errors(f"cannot judge labels by {model_id}"),
    ):
        scored = with_probabilities(pictures, card, files).where("probabilities IS NOT NULL").toArrow()
    if not len(scored):
        raise NothingToCheck(
            f"model {model_id} has learnt every sample with one of its labels, or there is none: name "
            "another model, or judge by folds with --deep"
        )
    judged = time.monotonic() - began
    results = judge_scores(card, scored, unknown)
    check.write(spark, settings, results)
    return check.summarize(model_id, scored, results, counts, (time.monotonic() - began, judged))


def judge_scores(
    card: ModelCard, scored: pa.Table, unknown: list[str], thresholds: Floats | None = None
) -> dict[str, LabelVerdict]:
    """Verdicts by image id on rows with image_id, label and probabilities.

    Args:
        thresholds: of the model's labels; None takes the mean probabilities over these rows.
    """
    probabilities = np.asarray(scored["probabilities"].to_pylist(), np.float32)
    labels = scored["label"].to_pylist()
    if thresholds is None:
        index = {label: position for position, label in enumerate(card.labels)}
        known = [row for row, label in enumerate(labels) if label in index]
        own = np.array([index[labels[row]] for row in known], np.int64)
        thresholds = scorer.thresholds(probabilities[known], own)
        thresholds[thresholds == 0] = 1.0  # no picture has the label, so it is never sure enough
    claims = [None if label in unknown else label for label in labels]
    found = verdicts.of_scores(card.labels, claims, probabilities, thresholds, f"model {card.model_id}")
    rows = zip(scored["image_id"].to_pylist(), found, strict=True)
    return {image_id: verdict for image_id, verdict in rows if verdict is not None}


def _unseen(
    spark: SparkSession, settings: Settings, card: ModelCard, unknown: list[str]
) -> tuple[DataFrame, Counter[str]]:
    """Pictures that a model may judge: image_id, label and jpeg; and reason to number of others."""
    samples = tables.read_complete(spark, settings.lake, Table.SAMPLES).select(
        "image_id",
        "upload_id",
        "label",
        (f.coalesce("label_source", f.lit("claimed")) != "claimed").alias("decided"),
        f.coalesce(f.array_contains("flags", NONE_OF_THESE), f.lit(False)).alias("excluded"),
        f.coalesce("duplicate_group", "image_id").alias("group"),
    )
    learnt_ids = pa.table({"image_id": pa.array(sorted(learnt(settings, card.model_id)), pa.string())})
    seen = spark.createDataFrame(learnt_ids)
    groups = samples.join(seen, "image_id", "left_semi").select("group").distinct()
    known = f.col("label").isin([*card.labels, *unknown])
    reason = (
        f.when(f.col("decided") | f.col("excluded"), "decided by a person")
        .when(~known, "the model does not know the label")
        .when(f.col("learnt"), "the model learnt it, or a near duplicate")
    )
    marked = samples.join(groups.withColumn("learnt", f.lit(True)), "group", "left")
    marked = marked.withColumn("learnt", f.coalesce("learnt", f.lit(False))).withColumn("reason", reason)
    counted = marked.where("reason IS NOT NULL").groupBy("reason").count().collect()
    keys = marked.where("reason IS NULL").select("image_id", "upload_id", f.col("label").alias("own_label"))
    uploads = tables.read(spark, settings.lake, Table.UPLOADS).where("verdict = 'accepted'")
    pictures = uploads.select("image_id", "upload_id", "jpeg").join(
        f.broadcast(keys), ["image_id", "upload_id"]
    )
    shown = pictures.select("image_id", f.col("own_label").alias("label"), "jpeg")
    return shown, Counter({row.reason: row["count"] for row in counted})


def learnt(settings: Settings, model_id: str) -> frozenset[str]:
    """Ids of the images that a model, or one that it started from, was trained or validated on.

    Raises:
        NothingToCheck: a dataset is gone, so that nobody can say.
    """
    found: set[str] = set()
    for card in initial_weights.ancestors(settings, model_id):
        try:
            storage = Storage(settings.lake.at("snapshots", card.dataset_id), settings.s3)
            snapshot = DatasetSnapshot.load(storage)
            for split in (Split.TRAIN, Split.VALIDATION):
                for column in snapshot.column(split, "image_id"):
                    found.update(column.to_pylist())
        except DamagedSnapshot as error:
            raise NothingToCheck(
                f"nobody can say which pictures {card.model_id} has learnt, as its dataset cannot be read "
                f"({error}): name another model, or judge by folds with --deep"
            ) from None
    return frozenset(found)
