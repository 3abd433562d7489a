"""Environment of a benchmark: its own folder, lake, index and broker, and topics filled with pictures."""

import logging
import shutil
from pathlib import Path

from conf import settings as configuration
from conf.places import base_dir
from conf.sections import Lake
from conf.settings import Settings
from streaming import topics
from streaming.upload import producer, push_request
from streaming.upload.push_request import PushRequest

# Device ids are the keys of the records. With only a few dozen keys, one of four partitions gets a sixth more
# records than the others, and at the end of each micro-batch one core is idle.
_PHONES = 10_000


def bench_folder(name: str) -> Path:
    """The folder of a benchmark below build/bench, with the files of earlier runs."""
    folder = base_dir() / "build" / "bench" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def empty_folder(name: str) -> Path:
    """The emptied folder of a benchmark below build/bench."""
    shutil.rmtree(bench_folder(name))
    return bench_folder(name)


def quiet_libraries() -> None:
    """Configure logging before TensorFlowOnSpark does: on import it shows the INFO lines of all libraries."""
    logging.basicConfig(level=logging.WARNING)


def settings_in(folder: Path) -> Settings:
    """The settings of this checkout with lake, broker and index below a folder."""
    settings = configuration.load()
    return settings.model_copy(
        update={
            "lake": Lake(root=str(folder / "lake")),
            "broker": settings.broker.model_copy(update={"dir": folder / "broker"}),
            "ingest": settings.ingest.model_copy(update={"index_dir": folder / "index"}),
            "kafka": settings.kafka.model_copy(update={"bootstrap": ""}),
        }
    )


def fill_topic(settings: Settings, bootstrap: str, folder: Path, images: int, batch: str = "bench") -> None:
    """Create missing topics, and push pictures of a folder, repeated until there are enough."""
    topics.create(settings.kafka, bootstrap)
    request = PushRequest(str(folder), batch, repeat=images, limit=images, devices=_PHONES)
    pushed = producer.push(settings.kafka, settings.push, bootstrap, push_request.records(request, settings))
    assert pushed.acknowledged == images, pushed


def delete_topic(settings: Settings, bootstrap: str) -> None:
    """Delete the topic, because the next load needs the disk space."""
    with topics.admin_client(settings.kafka, bootstrap) as client:
        client.delete_topics([settings.kafka.topic])
