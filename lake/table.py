"""Names of the Delta tables. Imports no Spark, so that any command can list them.

A new table needs its columns in `lake.schemas` and its rule in `lake.erasure.rules`. Creation, the view for
Spark SQL, `hub status`, erasure and the test of erasure derive from this list.
"""

from enum import StrEnum


class Table(StrEnum):
    """A Delta table; its folder is `<lake root>/<name>`."""

    UPLOADS = "uploads"
    SAMPLES = "samples"
    LABELS = "labels"
    DATASETS = "datasets"
    MODELS = "models"
    DUPLICATE_PAIRS = "duplicate_pairs"
    GROUPS = "groups"
    GROUP_MERGES = "group_merges"
    CLUSTERS = "clusters"
    DECISIONS = "decisions"
    WATCHES = "watches"
    EMBEDDINGS = "embeddings"
    ERASED_SPLITS = "erased_splits"
