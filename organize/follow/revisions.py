"""What all images of a lake share and what is computed anew as it grows: clusters, and the probe of labels.

New images get the clusters and scores of before meanwhile, so they do not wait for it. One list; all else
derives from it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import SparkSession

from conf.settings import Settings
from lake.locks.organize_lock import Turn
from organize.clusters import centroids, formation
from organize.clusters import stage as clusters
from organize.errors import ErasedMeanwhile, NothingToCheck
from organize.follow.organizer import Organizer
from organize.follow.stages import named
from organize.labels import check
from organize.labels import stage as labels
from organize.labels.scorer import Scorer


@dataclass(frozen=True)
class Revision:
    """A revision.

    Args:
        name: as it is reported.
        key: of the stage that new images go through; the first revision adds to its number of images.
        is_due: whether it is to be computed now; it must be quick.
        is_first: whether no image can have a result yet.
        run: computes it and writes it; returns the number of images.
    """

    name: str
    key: str
    is_due: Callable[[Settings, str], bool]
    is_first: Callable[[Settings, str], bool]
    run: Callable[[SparkSession, Settings, str, Turn], int]


def _form(spark: SparkSession, settings: Settings, model_id: str, turn: Turn) -> int:
    return formation.form(spark, settings, model_id, turn).images


def _check(spark: SparkSession, settings: Settings, model_id: str, turn: Turn) -> int:
    return check.check_labels(spark, settings, model_id, turn).checked


REVISIONS = (
    Revision(
        "clusters formed",
        "clustered",
        clusters.formation_is_due,
        lambda settings, model_id: not centroids.read(settings, model_id),
        _form,
    ),
    Revision(
        "labels checked",
        "scored",
        labels.check_is_due,
        lambda settings, model_id: Scorer.load(settings, model_id) is None,
        _check,
    ),
)


def revise(spark: SparkSession, organizer: Organizer) -> None:
    """Compute what is due. What is interrupted is due again.

    Raises:
        StageFailed: a revision failed.
        InUse: another process organizes, or an erasure is running, for longer than `organize.lock_seconds`.
    """
    settings, model_id = organizer.settings, organizer.model_id
    for each in REVISIONS:
        with named(each.name):
            if not each.is_due(settings, model_id):
                continue
            began, is_first = time.monotonic(), each.is_first(settings, model_id)
            try:
                images = each.run(spark, settings, model_id, organizer.turn)
            except NothingToCheck:  # of these images, some are left out or have no vector
                continue
            except ErasedMeanwhile as error:  # it is still due
                organizer.report(f"{each.name}: {error}")
                continue
        if is_first:
            organizer.counts.add_stage(each.key, images)
        organizer.report(f"{each.name}: {images:,} images in {time.monotonic() - began:.1f} s")
