"""The stages through which each new image goes after its embedding. One list; all else derives from it.

A new stage is one entry here. On an existing lake it is then given all images that have an embedding.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from conf.errors import HubError
from conf.settings import Settings
from lake.job_failures import root_cause
from organize.chunk import Chunk
from organize.clusters.stage import cluster_images
from organize.duplicates import stage as duplicates
from organize.duplicates.prints import with_prints
from organize.errors import StageFailed
from organize.features.description import Describe
from organize.labels import stage as labels

IMAGE_COLUMNS = ("image_id", "label", "phash", "flags", "upload_id", "user", "device", "batch")
"""Columns of `samples` that stages get, beside width, height, `vector` and what describes the picture."""

PICTURE_COLUMNS = ("jpeg", "width", "height")
"""Columns of `uploads` from which pictures are described: the stored picture, the size of the original."""

Run = Callable[[Chunk], int]
"""Handles a chunk of images, each once, and returns the number of those that it handled.

All of them have their row in `embeddings` already. A stage writes to a table of its own, and what it changes
in `samples` to `Chunk.samples`. It must be idempotent: after a crash it may get the same images again.
"""


def _nothing(settings: Settings) -> None:
    """The stage needs no pixels."""


@dataclass(frozen=True)
class Stage:
    """A stage.

    Args:
        name: of the stage, in the note of what is done; another name lets it run again for all images.
        key: of its number of images in `hub organize --once --json`.
        run: handles a chunk of images.
        describe: gives what is computed of the pixels for it: columns of `Chunk.images`; None for nothing.
    """

    name: str
    key: str
    run: Run
    describe: Callable[[Settings], Describe | None] = _nothing


@contextmanager
def named(name: str) -> Iterator[None]:
    """Raise what fails in a stage as one line that names it: of a streaming query Spark reports a stack."""
    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        raise StageFailed(f"{name}: {root_cause(error)}") from error
    except HubError as error:
        raise StageFailed(f"{name}: {error}") from error
    except Exception as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise StageFailed(f"{name}: {cause}") from error


STAGES: tuple[Stage, ...] = (
    Stage("duplicates-2", "grouped", duplicates.group, lambda settings: with_prints),
    Stage("clusters-2", "clustered", cluster_images),
    Stage("label scores", "scored", labels.score_images, labels.describe),
)
