"""Erasure rules: what an erasure does to each table, in this order.

The ledger comes after `samples`, because the ledger tells which images are the user's, and before `labels`,
which are recounted from it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import SparkSession

from conf.settings import Settings
from lake import tables
from lake.erasure import redaction
from lake.label_recount import recount
from lake.table import Table


@dataclass(frozen=True)
class ErasureRule:
    """How a user's data is deleted from a table.

    Args:
        step: progress message, or the reason for no `apply`.
        apply: deletes the user's data; idempotent. None for a table that needs no erasure. Old versions of a
            table with an `apply` are purged afterwards.
    """

    step: str
    apply: Callable[[SparkSession, Settings, str], None] | None


def _reassign(spark: SparkSession, settings: Settings, user: str) -> None:
    redaction.reassign_samples(spark, settings.lake, user)


def _redact(spark: SparkSession, settings: Settings, user: str) -> None:
    redaction.redact_uploads(spark, settings.lake, user)


def _recount(spark: SparkSession, settings: Settings, user: str) -> None:
    ledger = tables.read(spark, settings.lake, Table.UPLOADS)
    recount(spark, settings, ledger)


RULES = {
    Table.SAMPLES: ErasureRule(
        "delete samples, or reassign them to others who uploaded the same image", _reassign
    ),
    Table.UPLOADS: ErasureRule("redact the rows of the ledger", _redact),
    Table.LABELS: ErasureRule("recount the uploads of each label, and find its name in them again", _recount),
    Table.DATASETS: ErasureRule("dataset snapshots are immutable; those with such images are listed", None),
    Table.MODELS: ErasureRule("models hold no pictures; those trained on such a snapshot are listed", None),
}
