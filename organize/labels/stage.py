"""Scores of the labels of new samples as they arrive: a stage of `organize.follow`."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conf.settings import Settings
from lake import row_writer
from lake.label_slug import label_slug
from lake.row_writer import literal
from lake.table import Table
from models.errors import UnknownModel, UnusableModel
from models.inference import catalogue
from models.registry import model_cards
from models.registry.model_cards import ModelCard
from organize.chunk import Chunk
from organize.errors import NothingToCheck
from organize.features import embeddings
from organize.features.description import Describe
from organize.labels import model_check
from organize.labels.model_scores import PROBABILITIES, WithProbabilities
from organize.labels.scorer import Scorer
from organize.labels.scoring import score_batch
from organize.labels.verdicts import LabelVerdict

GROWTH = 2.0  # all labels are checked again when the lake has this many times the images of the last check
SURE = 0.6  # probability from which the model in use is sure of a label


def describe(settings: Settings) -> Describe | None:
    """What is computed of the pixels: the probabilities of the model in use; None if there is none."""
    card = _card_in_use(settings)
    if card is None:
        return None
    return WithProbabilities(card, model_cards.artifact_storage(settings, card.model_id))


def score_images(chunk: Chunk) -> int:
    """Score the labels of new images: by the model in use, or else by the probe of the last label check.

    A model does not score what it has learnt, nor labels that it does not know: the probe does.

    Returns:
        the number of images that were scored; 0 before the first check.
    """
    settings, images = chunk.settings, chunk.images
    scorer = Scorer.load(settings, chunk.model_id)
    by_probe = _by_probe(settings, images, scorer) if scorer is not None else {}
    by_model = _by_model_in_use(settings, images)
    free = _undecided(settings, sorted({*by_probe, *by_model}))
    # A check has judged an image better than the saved probe, which has learnt it, would score it.
    results = {each: verdict for each, verdict in by_probe.items() if free.get(each) is False}
    results |= {each: verdict for each, verdict in by_model.items() if each in free}
    for image_id, each in results.items():
        values = (each.quality, each.suggested, each.reason)
        chunk.samples.set(
            image_id, **dict(zip(("label_quality", "suggested_label", "label_reason"), values, strict=True))
        )
    return len(free)


def check_is_due(settings: Settings, model_id: str) -> bool:
    """Whether all labels are checked now: at first, and when the lake has doubled.

    Never while there are too few pictures of two labels.
    """
    scorer = Scorer.load(settings, model_id)
    if embeddings.count(settings, model_id) < (GROWTH * scorer.images if scorer else 1):
        return False
    per_label = "SELECT count(*) AS images FROM rows WHERE label IS NOT NULL GROUP BY label"
    rows = row_writer.query(settings, Table.SAMPLES, per_label)
    return sum(row["images"] >= settings.checks.min_images for row in rows) > 1


def _by_probe(settings: Settings, images: pa.Table, scorer: Scorer) -> dict[str, LabelVerdict]:
    unknown = frozenset(label_slug(name) for name in settings.checks.unknown_labels)
    names = ("label_quality", "suggested_label", "label_reason")
    own = images.select(["image_id", "label", "vector"])
    own = own.filter(pc.is_valid(own["vector"])).combine_chunks()
    return {
        row["image_id"]: LabelVerdict(*(row[name] for name in names))
        for batch in own.to_batches()
        for row in score_batch(batch, scorer, unknown).to_pylist()
    }


def _by_model_in_use(settings: Settings, images: pa.Table) -> dict[str, LabelVerdict]:
    card = _card_in_use(settings)
    if card is None or PROBABILITIES not in images.column_names:
        return {}
    scored = images.filter(pc.is_valid(images[PROBABILITIES]))
    scored = scored.filter(pc.equal(pc.list_value_length(scored[PROBABILITIES]), len(card.labels)))
    if not len(scored):
        return {}
    try:
        learnt = model_check.learnt(settings, card.model_id)
    except NothingToCheck:  # its dataset is gone: the probe's scores stay
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


def _undecided(settings: Settings, image_ids: list[str]) -> dict[str, bool]:
    """Of these images, those that nobody has decided about, and whether they have a quality already."""
    if not image_ids:
        return {}
    where = f"image_id IN ({literal(*image_ids)}) AND coalesce(label_source, 'claimed') = 'claimed'"
    found = row_writer.read(settings, Table.SAMPLES, ["image_id", "label_quality"], where)
    return {row["image_id"]: row["label_quality"] is not None for row in found}
