"""Scores of the labels of new samples as they arrive: a stage of `organize.follow`."""

import numpy as np
from pyspark.sql import DataFrame, SparkSession

from conf.settings import Settings
from lake import tables
from lake.label_slug import label_slug
from lake.table import Table
from models.errors import UnknownModel, UnusableModel
from models.inference import catalogue
from models.registry import model_cards
from models.registry.model_cards import ModelCard
from organize.errors import NothingToCheck
from organize.features import embeddings
from organize.labels import check, model_check
from organize.labels.model_scores import with_probabilities
from organize.labels.scorer import Scorer
from organize.labels.scoring import scores
from organize.labels.verdicts import LabelVerdict

GROWTH = 2.0  # all labels are checked again when the lake has this many times the images of the last check
SURE = 0.6  # probability from which the model in use is sure of a label


def score_images(spark: SparkSession, settings: Settings, images: DataFrame, model_id: str) -> int:
    """Score the labels of new images: by the model in use, or else by the probe of the last label check.

    A model does not score what it has learnt, nor labels that it does not know: the probe does. The first
    check comes as soon as there are enough images, and again when their number has doubled.

    Returns:
        the number of images that were scored; 0 while there are too few for a check.
    """
    scorer, checked = Scorer.load(settings, model_id), 0
    embedded = embeddings.of_model(spark, settings, model_id).count()
    by_probe: dict[str, LabelVerdict] = {}
    if scorer is None or embedded >= GROWTH * scorer.images:
        try:
            check.check_labels(spark, settings, model_id)
            checked = images.count()  # by a probe that did not learn them; the saved one has
        except NothingToCheck:
            scorer = None
    if scorer is not None and not checked:
        by_probe = _by_probe(settings, images, scorer)
    by_model = _by_model_in_use(settings, images)
    free = _undecided(spark, settings, sorted({*by_probe, *by_model}))
    # A check has judged an image better than the saved probe, which has learnt it, would score it.
    results = {each: verdict for each, verdict in by_probe.items() if free.get(each) is False}
    results |= {each: verdict for each, verdict in by_model.items() if each in free}
    check.write(spark, settings, results)
    return max(checked, len(set(free)))


def _by_probe(settings: Settings, images: DataFrame, scorer: Scorer) -> dict[str, LabelVerdict]:
    rows = scores(images, scorer, settings).toArrow().to_pylist()
    names = ("label_quality", "suggested_label", "label_reason")
    return {row["image_id"]: LabelVerdict(*(row[name] for name in names)) for row in rows}


def _by_model_in_use(settings: Settings, images: DataFrame) -> dict[str, LabelVerdict]:
    card = _card_in_use(settings)
    if card is None:
        return {}
    try:
        learnt = model_check.learnt(settings, card.model_id)
    except NothingToCheck:  # its dataset is gone: the probe's scores stay
        return {}
    files = model_cards.artifact_storage(settings, card.model_id)
    rows = with_probabilities(images.select("image_id", "label", "jpeg"), card, files)
    scored = rows.where("probabilities IS NOT NULL").toArrow()
    if not len(scored):
        return {}
    unknown = [label_slug(name) for name in settings.checks.unknown_labels]
    sure = np.full(len(card.labels), SURE, np.float32)
    found = model_check.judge_scores(card, scored, unknown, sure)
    return {image_id: verdict for image_id, verdict in found.items() if image_id not in learnt}


def _card_in_use(settings: Settings) -> ModelCard | None:
    used = catalogue.in_use(settings)
    if used is None:
        return None
    try:
        card = model_cards.ready_card(settings, used)
    except (UnknownModel, UnusableModel):  # `hub models` says so
        return None
    return card if card.objective == "labels" else None


def _undecided(spark: SparkSession, settings: Settings, image_ids: list[str]) -> dict[str, bool]:
    """Of these images, those that nobody has decided about, and whether they have a quality already."""
    if not image_ids:
        return {}
    listed = spark.createDataFrame([(each,) for each in image_ids], "image_id string")
    samples = tables.read(spark, settings.lake, Table.SAMPLES)
    free = samples.where("coalesce(label_source, 'claimed') = 'claimed'")
    found = free.join(listed, "image_id", "left_semi").select("image_id", "label_quality").collect()
    return {row.image_id: row.label_quality is not None for row in found}
