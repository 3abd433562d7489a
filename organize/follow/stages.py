"""The stages through which each new image goes after its embedding. One list; all else derives from it.

A new stage is one entry here. On an existing lake it is then given all images that have an embedding.
"""

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession

from conf.settings import Settings
from organize.clusters.stage import cluster_images
from organize.duplicates import stage as duplicates
from organize.labels.stage import score_images

IMAGE_COLUMNS = ("image_id", "label", "phash", "flags", "upload_id", "user", "device", "batch")
"""Columns of `samples` that stages get, in addition to those of the picture and `vector`."""

PICTURE_COLUMNS = ("jpeg", "width", "height")
"""Columns of `uploads` that they get: the stored picture, and the size of the original (pixels)."""

Run = Callable[[SparkSession, Settings, DataFrame, str], int]
"""Handles images, each once: persisted rows with `IMAGE_COLUMNS`, `PICTURE_COLUMNS` and `vector`, and the
model's id.

All of them have their row in `embeddings` already. A stage writes to a table of its own, and sets columns of
`samples` with `lake.tables.update`. It must be idempotent: after a crash it may get the same images again.
Returns the number of images that it handled.
"""


@dataclass(frozen=True)
class Stage:
    """A stage.

    Args:
        name: of the stage, in the note of what is done; another name lets it run again for all images.
        key: of its number of images in `hub organize --once --json`.
        run: handles a chunk of images.
    """

    name: str
    key: str
    run: Run


STAGES: tuple[Stage, ...] = (
    Stage("duplicates-1", "grouped", duplicates.group),
    Stage("clusters", "clustered", cluster_images),
    Stage("label scores", "scored", score_images),
)
