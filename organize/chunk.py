"""A chunk of new images on its way through the stages, and what the stages change in `samples`.

All stages of a chunk work on the driver, on Arrow: a Spark job or a Delta commit of Spark takes a second,
whatever it does, and a micro-batch of a few uploads needed dozens of them. What needs pixels is computed
before, in one pass where the pictures are (`organize.features.description`).
"""

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession

from conf.settings import Settings
from lake import row_merge
from lake.locks import commit_lease
from lake.table import Table

UNDECIDED = "coalesce(old.label_source, 'claimed') = 'claimed'"
"""Condition on a sample about whose label nobody has decided; `old` is its row."""

_JUDGED = ("label_quality", "suggested_label", "label_reason")


@dataclass(frozen=True)
class SampleChanges:
    """Columns of `samples` that are written together, in one commit."""

    settings: Settings
    _rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    def set(self, image_id: str, **values: Any) -> None:
        """Set columns of an image's sample.

        Quality, suggestion and reason of a label are only written where nobody has decided about it, even if
        somebody does so in this moment.
        """
        self._rows.setdefault(image_id, {"image_id": image_id}).update(values)

    def write(self) -> int:
        """Write what was set since the last call; returns the number of samples that it has changed."""
        rows = [self._rows[image_id] for image_id in sorted(self._rows)]
        self._rows.clear()
        if not rows:
            return 0
        undecided = dict.fromkeys(_JUDGED, UNDECIDED)
        with commit_lease.held(self.settings, Table.SAMPLES):
            return row_merge.amend(self.settings, Table.SAMPLES, "image_id", rows, undecided)


@dataclass(frozen=True)
class Chunk:
    """Images that go through the stages together.

    Args:
        spark: for what concerns the whole lake.
        settings: of the hub.
        model_id: of the embeddings.
        images: one row each, with `stages.IMAGE_COLUMNS`, width and height of the original, `vector`, and the
            columns that the stages have computed of the pixels.
        samples: takes what a stage changes in `samples`. It is written after the last stage; a stage that
            reads all samples calls `samples.write` before.
    """

    spark: SparkSession
    settings: Settings
    model_id: str
    images: pa.Table
    samples: SampleChanges

    @property
    def image_ids(self) -> list[str]:
        """The ids of the images."""
        return [str(image_id) for image_id in self.images["image_id"].to_pylist()]
