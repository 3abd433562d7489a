"""`hub labels check`: the first tier by embeddings, the second by a model or by folds trained for it."""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial

from pyspark.sql import SparkSession

from conf.settings import Settings
from lake import tables
from lake.locks import organize_lock
from lake.table import Table
from organize.deep_check import check_by_folds
from organize.features.embedder import embedder_of
from organize.labels import check, model_check
from organize.labels.check import Checked


def quick(spark: SparkSession, settings: Settings, model_id: str | None) -> Checked:
    """Judge labels by embeddings, or by a model on pictures that it did not learn.

    Raises:
        NothingToCheck: there are too few images, labels or embeddings.
        UnknownModel, UnusableModel, UsageError: the model does not exist or predicts no labels.
        ErasedMeanwhile: an image that was judged is gone.
        InUse: an erasure is running, for longer than `organize.lock_seconds`.
    """
    turn = partial(organize_lock.held, settings, "labels check")
    if tables.exists(spark, settings.lake, Table.SAMPLES):
        with turn():
            tables.create(spark, settings.lake)  # a lake of an older hub lacks columns
    if model_id is not None:
        return model_check.check_by_model(spark, settings, model_id)
    return check.check_labels(spark, settings, embedder_of(settings).model_id, turn)


def deep(settings: Settings, report: Callable[[str], None]) -> Checked:
    """Judge labels by networks that are trained in folds; see `organize.deep_check`."""
    return check_by_folds(settings, report)


def results(checked: Checked) -> dict[str, object]:
    """The numbers of a check for --json."""
    return asdict(checked)
