"""Where an ingestion goes on, held against what the topic still has."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from conf.settings import Settings
from lake.errors import StorageError
from lake.storage import Storage
from streaming import topics
from streaming.errors import DamagedCheckpoint, IngestFailed, RecordsLost, StreamingError, UnreadableRecord
from streaming.ledger.query_checkpoint import Checkpoint, damaged, differs
from streaming.topics import Topic

EARLIEST = -2
_UNREADABLE = re.compile(r"Record at topic (\S+) partition (\d+) offset (\d+) has timestamp value (-?\d+)")
_LEDGER_GOES_ON = "the new checkpoint starts where the ledger ends, nothing is lost or taken twice"


@dataclass(frozen=True)
class ResumeOffsets:
    """Where the next batch begins.

    Args:
        positions: partition to the next offset that is taken; -2 for the earliest there is.
        lost: partition to the first offset that is gone and the first that is there.
    """

    positions: dict[int, int]
    lost: dict[int, tuple[int, int]]

    def starting_offsets(self, topic: str) -> str:
        """For Spark's Kafka source; heeded only where there is no checkpoint."""
        return json.dumps({topic: {str(p): offset for p, offset in self.positions.items()}})


def checkpoint_of(settings: Settings, query: str) -> Storage:
    """Where a query's checkpoint lies."""
    return Storage(settings.lake.at("checkpoints", query), settings.s3)


def query_of(topic: str) -> str:
    """Name of the query that takes a topic's records, and of its checkpoint."""
    return f"ingest-{topic}"


def find(
    settings: Settings, bootstrap: str, ledger: Mapping[tuple[str, int], int], accept_loss: bool
) -> ResumeOffsets:
    """Find where to go on: after the checkpoint, or after the ledger where there is none.

    Args:
        ledger: topic and partition to the offset after the newest in the ledger.
        accept_loss: go on after records that retention removed before they were taken. The checkpoint that
            needs them is set aside.

    Raises:
        IngestFailed: there is no such topic.
        DamagedCheckpoint: the checkpoint cannot be used.
        RecordsLost: the topic no longer holds what comes next, or it is another topic of that name.
    """
    topic = _topic(settings, bootstrap)
    storage = checkpoint_of(settings, query_of(topic.name))
    checkpoint = Checkpoint.read(storage, _LEDGER_GOES_ON)
    taken = {partition: offset for (name, partition), offset in ledger.items() if name == topic.name}
    known = taken
    if checkpoint is not None and checkpoint.position is not None:
        known = _of_topic(storage, checkpoint.position, topic.name)
    _refuse_another_topic(settings, topic, {p: max(known.get(p, 0), taken.get(p, 0)) for p in known | taken})
    positions = {p: known.get(p, EARLIEST) for p in topic.offsets}
    gone = _gone(topic, known, checkpoint is not None)
    # What the ledger has is not lost, even where the checkpoint has yet to hear of it.
    lost = {
        p: (max(due, taken.get(p, 0)), begin) for p, (due, begin) in gone.items() if taken.get(p, 0) < begin
    }
    if lost and not accept_loss:
        raise RecordsLost(_told(topic.name, lost))
    if gone and checkpoint is not None:
        aside = f"{storage.root}.set-aside-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        storage.move(aside)
    if gone:
        positions = {p: max(taken.get(p, 0), begin) for p, (begin, _) in topic.offsets.items()}
    _remember(settings, topic)
    return ResumeOffsets(positions, lost)


def explained(
    settings: Settings, bootstrap: str, ledger: Mapping[tuple[str, int], int], error: str
) -> StreamingError | None:
    """Why a query failed, where it is that records or a checkpoint's files are not as they should be."""
    unreadable = _UNREADABLE.search(error)
    if unreadable:
        name, partition, offset, time = unreadable.groups()
        return UnreadableRecord(
            f"record {name}/{partition}/{offset} has a time that Spark cannot read ({time} ms): remove it by "
            f"Kafka's kafka-delete-records, with what lies before it, up to offset {int(offset) + 1}, go on "
            "with `hub ingest --accept-loss`, and run `hub up`, after which the topic takes no such record"
        )
    if differs(error):
        query = next((q for q in queries(settings) if f"/{q}/" in error), query_of(settings.kafka.topic))
        storage = checkpoint_of(settings, query)
        return damaged(storage.root, f"a file differs from its checksum ({error[:160]})", _LEDGER_GOES_ON)
    try:
        find(settings, bootstrap, ledger, accept_loss=False)
    except (RecordsLost, DamagedCheckpoint) as problem:
        return problem
    except IngestFailed:
        return None
    return None


def queries(settings: Settings) -> list[str]:
    """Names of all queries of an ingestion."""
    return [query_of(settings.kafka.topic), "samples", "dead-letters"]


def _topic(settings: Settings, bootstrap: str) -> Topic:
    found = {topic.name: topic for topic in topics.describe(settings.kafka, bootstrap)}
    name = settings.kafka.topic
    if name not in found:
        raise IngestFailed(f"no topic {name!r} at {bootstrap}: run `hub up`, which makes it")
    return found[name]


def _of_topic(storage: Storage, position: Mapping[str, object], topic: str) -> dict[int, int]:
    offsets = position.get(topic)
    if not isinstance(offsets, dict) or not all(
        str(p).isdigit() and isinstance(n, int) for p, n in offsets.items()
    ):
        raise damaged(
            storage.root, f"it is not of topic {topic} but of {', '.join(position)}", _LEDGER_GOES_ON
        )
    return {int(p): n for p, n in offsets.items()}


def _gone(topic: Topic, known: Mapping[int, int], goes_on: bool) -> dict[int, tuple[int, int]]:
    """Partition to what is due and the first that is there, where the two differ.

    A partition that a checkpoint does not know was added later and is due from 0.
    """
    gone = {}
    for partition, (begin, _) in topic.offsets.items():
        due = known.get(partition, 0 if goes_on and known else begin)
        if 0 <= due < begin:
            gone[partition] = (due, begin)
    return gone


def _told(topic: str, lost: Mapping[int, tuple[int, int]]) -> str:
    total = sum(begin - due for due, begin in lost.values())
    return (
        f"retention removed {total:,} record(s) of topic {topic} before they were taken, they are "
        f"lost for good: {ranges(lost)}; nothing was taken now. Go on after them "
        "with `hub ingest --accept-loss`, and raise the topic's retention.ms"
    )


def ranges(lost: Mapping[int, tuple[int, int]]) -> str:
    """Partitions with the offsets that are gone, for people."""
    return ", ".join(
        f"partition {p} offsets {due:,} to {begin - 1:,}" for p, (due, begin) in sorted(lost.items())
    )


def _refuse_another_topic(settings: Settings, topic: Topic, due: Mapping[int, int]) -> None:
    """A topic that was made again counts from 0: its positions would stand in the ledger twice."""
    why = ""
    for partition, offset in due.items():
        _, end = topic.offsets.get(partition, (0, -1))
        if end < 0:
            why = f"it has no partition {partition}, which the lake knows"
        elif offset > end:
            why = f"partition {partition} ends at offset {end:,}, the lake has taken it up to {offset:,}"
    seen = _remembered(settings, topic.name)
    if seen and topic.id and seen != topic.id:
        why = f"its id is {topic.id}, the lake has taken one with id {seen}"
    if why:
        raise RecordsLost(
            f"topic {topic.name} is not the one this lake has taken: {why}. It was deleted and made "
            "again, or HUB__KAFKA__BOOTSTRAP names another cluster; go back, or take this one under another "
            "name (HUB__KAFKA__TOPIC) or into another lake (HUB__LAKE__ROOT)"
        )


def _identity(settings: Settings) -> Storage:
    return Storage(settings.lake.at("checkpoints"), settings.s3)


def _remembered(settings: Settings, topic: str) -> str:
    try:
        return str(_identity(settings).read_json(f"topic-{topic}.json").get("id", ""))
    except (StorageError, ValueError):
        return ""


def _remember(settings: Settings, topic: Topic) -> None:
    if topic.id and _remembered(settings, topic.name) != topic.id:
        _identity(settings).write_json(f"topic-{topic.name}.json", {"topic": topic.name, "id": topic.id})
