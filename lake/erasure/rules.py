"""Erasure rules: what an erasure does to each table, in this order.

The ledger tells which images are the user's. So it comes after all tables with rules that ask it, and before
`labels`, which are recounted from it. Clusters come before the samples that name them, decisions after.
"""

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import SparkSession

from conf.settings import Settings
from lake import tables
from lake.erasure import curation, groups, redaction
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


def _delete_clusters(spark: SparkSession, settings: Settings, user: str) -> None:
    curation.delete_clusters(spark, settings.lake, user)


def _redact_decisions(spark: SparkSession, settings: Settings, user: str) -> None:
    curation.redact_decisions(spark, settings.lake, user)


def _delete_watches(spark: SparkSession, settings: Settings, user: str) -> None:
    curation.delete_watches(spark, settings.lake, user)


def _delete_embeddings(spark: SparkSession, settings: Settings, user: str) -> None:
    redaction.delete_embeddings(spark, settings.lake)
    curation.delete_probes(settings)


def _delete_pairs(spark: SparkSession, settings: Settings, user: str) -> None:
    groups.delete_pairs(spark, settings)


def _delete_from_groups(spark: SparkSession, settings: Settings, user: str) -> None:
    groups.delete_from_groups(spark, settings)


RULES = {
    Table.CLUSTERS: ErasureRule("delete clusters that contain the user's images", _delete_clusters),
    Table.SAMPLES: ErasureRule(
        "delete samples, or reassign them to others who uploaded the same image", _reassign
    ),
    Table.DECISIONS: ErasureRule(
        "delete or redact decisions on the user's images and by the user", _redact_decisions
    ),
    Table.WATCHES: ErasureRule("delete the labels that the user watches", _delete_watches),
    Table.EMBEDDINGS: ErasureRule(
        "delete the embeddings of images that have no sample, and what learnt from them", _delete_embeddings
    ),
    Table.DUPLICATE_PAIRS: ErasureRule("delete pairs of near duplicates without a sample", _delete_pairs),
    Table.GROUPS: ErasureRule("delete images without a sample from their groups", _delete_from_groups),
    Table.GROUP_MERGES: ErasureRule("ids of groups are hashes and name no image", None),
    Table.UPLOADS: ErasureRule("redact the rows of the ledger", _redact),
    Table.LABELS: ErasureRule("recount the uploads of each label, and find its name in them again", _recount),
    Table.DATASETS: ErasureRule("dataset snapshots are immutable; those with such images are listed", None),
    Table.ERASED_SPLITS: ErasureRule("hashes of erased images keep their splits", None),
    Table.MODELS: ErasureRule("models hold no pictures; those trained on such a snapshot are listed", None),
}
