"""Where a benchmark runs: a lake, an index and a broker of its own, and topics with pictures."""

import shutil
from pathlib import Path

from conf import settings as configuration
from conf.places import home
from conf.sections import Lake
from conf.settings import Settings
from streaming import topics
from streaming.upload import producer, push_request
from streaming.upload.push_request import PushRequest

# Their ids are the records' keys. With a few dozen keys one of four partitions gets a sixth more than the
# others, and one core waits for the other at the end of each micro-batch.
_PHONES = 10_000


def ground(name: str) -> Path:
    """A folder for runs, below build/bench, as it was left."""
    folder = home() / "build" / "bench" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def fresh(name: str) -> Path:
    """An empty folder for a run, below build/bench, where its results go."""
    shutil.rmtree(ground(name))
    return ground(name)


def settings_in(folder: Path) -> Settings:
    """The settings of this checkout, with everything that a run writes below a folder."""
    settings = configuration.load()
    return settings.model_copy(
        update={
            "lake": Lake(root=str(folder / "lake")),
            "broker": settings.broker.model_copy(update={"dir": folder / "broker"}),
            "ingest": settings.ingest.model_copy(update={"index_dir": folder / "index"}),
            "kafka": settings.kafka.model_copy(update={"bootstrap": ""}),
        }
    )


def filled(settings: Settings, bootstrap: str, folder: Path, images: int, batch: str = "bench") -> None:
    """Make the topics where they are missing, and push so many pictures of a folder, over and over."""
    topics.create(settings.kafka, bootstrap)
    order = PushRequest(str(folder), batch, repeat=images, limit=images, devices=_PHONES)
    pushed = producer.push(settings.kafka, settings.push, bootstrap, push_request.records(order, settings))
    assert pushed.acknowledged == images, pushed


def emptied(settings: Settings, bootstrap: str) -> None:
    """Delete the topic, whose room the next load needs."""
    with topics.admin(settings.kafka, bootstrap) as client:
        client.delete_topics([settings.kafka.topic])
