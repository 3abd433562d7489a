"""Kafka offsets at which an ingestion resumes, compared with the offsets that the topic still has."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from conf.settings import Settings
from lake.errors import StorageError
from lake.storage import Storage
from streaming import topics
from streaming.errors import DamagedCheckpoint, IngestFailed, RecordsLost, StreamingError, UnreadableRecord
from streaming.ledger.query_checkpoint import QueryCheckpoint, damaged_checkpoint, is_checksum_error
from streaming.topics import Topic

EARLIEST = -2
_UNREADABLE_TIME = re.compile(
    r"Record at topic (\S+) partition (\d+) offset (\d+) has timestamp value (-?\d+)"
)
_RECOVERY = "the new checkpoint starts where the ledger ends, no record is lost or ingested twice"


@dataclass(frozen=True)
class ResumeOffsets:
    """Offsets at which the next micro-batch starts.

    Args:
        positions: partition to the next offset; -2 for the earliest available offset.
        lost: partition to the first removed offset and the first available offset.
    """

    positions: dict[int, int]
    lost: dict[int, tuple[int, int]]

    def starting_offsets(self, topic: str) -> str:
        """`startingOffsets` of Spark's Kafka source, which ignores them if there is a checkpoint."""
        return json.dumps({topic: {str(p): offset for p, offset in self.positions.items()}})


def checkpoint_of(settings: Settings, query: str) -> Storage:
    """Folder of a query's checkpoint."""
    return Storage(settings.lake.at("checkpoints", query), settings.s3)


def query_name(topic: str) -> str:
    """Name of the query that ingests a topic, and of its checkpoint."""
    return f"ingest-{topic}"


def find(
    settings: Settings, bootstrap: str, ledger: Mapping[tuple[str, int], int], accept_loss: bool
) -> ResumeOffsets:
    """Find where to resume: after the checkpoint, or after the ledger if there is no checkpoint.

    Args:
        ledger: topic and partition to the offset after the newest in the ledger.
        accept_loss: resume after records that retention removed before they were ingested. The checkpoint
            that needs them is renamed.

    Raises:
        IngestFailed: the topic does not exist.
        DamagedCheckpoint: the checkpoint cannot be used.
        RecordsLost: the topic no longer has the next records, or it is another topic of the same name.
    """
    topic = _describe_topic(settings, bootstrap)
    storage = checkpoint_of(settings, query_name(topic.name))
    checkpoint = QueryCheckpoint.read(storage, _RECOVERY)
    ingested = {partition: offset for (name, partition), offset in ledger.items() if name == topic.name}
    known = ingested
    if checkpoint is not None and checkpoint.offsets is not None:
        known = _topic_offsets(storage, checkpoint.offsets, topic.name)
    newest = {p: max(known.get(p, 0), ingested.get(p, 0)) for p in known | ingested}
    _refuse_another_topic(settings, topic, newest)
    positions = {p: known.get(p, EARLIEST) for p in topic.offsets}
    removed = _removed_offsets(topic, known, checkpoint is not None)
    # Records in the ledger are not lost, even if the checkpoint does not have their commit yet.
    lost = {
        p: (max(due, ingested.get(p, 0)), begin)
        for p, (due, begin) in removed.items()
        if ingested.get(p, 0) < begin
    }
    if lost and not accept_loss:
        raise RecordsLost(_loss_message(topic.name, lost))
    if removed and checkpoint is not None:
        backup = f"{storage.root}.set-aside-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        storage.move(backup)
    if removed:
        positions = {p: max(ingested.get(p, 0), begin) for p, (begin, _) in topic.offsets.items()}
    _write_topic_id(settings, topic)
    return ResumeOffsets(positions, lost)


def diagnose(
    settings: Settings,
    bootstrap: str,
    ledger: Mapping[tuple[str, int], int],
    error: str,
    followers: Sequence[str],
) -> StreamingError | None:
    """Find why a query failed: unreadable record, damaged checkpoint, lost records; None for another reason.

    Args:
        ledger: as of `find`.
        error: message of the query's exception.
        followers: query names of all followers.
    """
    unreadable = _UNREADABLE_TIME.search(error)
    if unreadable:
        name, partition, offset, time = unreadable.groups()
        return UnreadableRecord(
            f"record {name}/{partition}/{offset} has a timestamp that Spark cannot read ({time} ms): delete "
            "it and all records before it with Kafka's kafka-delete-records, up to offset "
            f"{int(offset) + 1}, continue with `hub ingest --accept-loss`, and run `hub up`: after that the "
            "topic accepts no such record"
        )
    if is_checksum_error(error):
        query = next((name for name in followers if f"/{name}/" in error), query_name(settings.kafka.topic))
        storage = checkpoint_of(settings, query)
        return damaged_checkpoint(
            storage.root, f"a file differs from its checksum ({error[:160]})", _RECOVERY
        )
    try:
        find(settings, bootstrap, ledger, accept_loss=False)
    except (RecordsLost, DamagedCheckpoint) as problem:
        return problem
    except IngestFailed:
        return None
    return None


def _describe_topic(settings: Settings, bootstrap: str) -> Topic:
    existing = {topic.name: topic for topic in topics.describe(settings.kafka, bootstrap)}
    name = settings.kafka.topic
    if name not in existing:
        raise IngestFailed(f"no topic {name!r} at {bootstrap}: run `hub up`, which creates it")
    return existing[name]


def _topic_offsets(storage: Storage, by_topic: Mapping[str, object], topic: str) -> dict[int, int]:
    """Partition to offset of the topic, from the offsets in a checkpoint; raises `DamagedCheckpoint`."""
    offsets = by_topic.get(topic)
    if not isinstance(offsets, dict) or not all(
        str(p).isdigit() and isinstance(n, int) for p, n in offsets.items()
    ):
        raise damaged_checkpoint(
            storage.root, f"it belongs to {', '.join(by_topic)}, not to topic {topic}", _RECOVERY
        )
    return {int(p): n for p, n in offsets.items()}


def _removed_offsets(topic: Topic, known: Mapping[int, int], resumes: bool) -> dict[int, tuple[int, int]]:
    """Partition to the due offset and the first available offset, if records between them were removed.

    Args:
        known: partition to its due offset; a partition that a checkpoint does not have was added later and is
            due from 0.
        resumes: whether there is a checkpoint.
    """
    removed = {}
    for partition, (begin, _) in topic.offsets.items():
        due = known.get(partition, 0 if resumes and known else begin)
        if 0 <= due < begin:
            removed[partition] = (due, begin)
    return removed


def _loss_message(topic: str, lost: Mapping[int, tuple[int, int]]) -> str:
    total = sum(begin - due for due, begin in lost.values())  # some may be markers of transactions
    return (
        f"retention removed up to {total:,} record(s) of topic {topic} before they were ingested; they are "
        f"lost: {format_ranges(lost)}. Nothing was ingested now. Continue after them with "
        "`hub ingest --accept-loss`, and increase the topic's retention.ms"
    )


def format_ranges(lost: Mapping[int, tuple[int, int]]) -> str:
    """Format the removed offsets of each partition for a message."""
    return ", ".join(
        f"partition {p} offsets {due:,} to {begin - 1:,}" for p, (due, begin) in sorted(lost.items())
    )


def _refuse_another_topic(settings: Settings, topic: Topic, due: Mapping[int, int]) -> None:
    """Refuse a recreated topic: its offsets start at 0 again and would be in the ledger twice."""
    why = ""
    for partition, offset in due.items():
        _, end = topic.offsets.get(partition, (0, -1))
        if end < 0:
            why = f"it has no partition {partition}, which is in the ledger"
        elif offset > end:
            why = f"partition {partition} ends at offset {end:,}, the lake has ingested it up to {offset:,}"
    known_id = _read_topic_id(settings, topic.name)
    if known_id and topic.id and known_id != topic.id:
        why = f"its id is {topic.id}, the lake has ingested a topic with id {known_id}"
    if why:
        raise RecordsLost(
            f"topic {topic.name} is not the one that this lake has ingested: {why}. It was deleted and "
            "created again, or HUB__KAFKA__BOOTSTRAP names another cluster; use the old cluster, another "
            "topic name (HUB__KAFKA__TOPIC) or another lake (HUB__LAKE__ROOT)"
        )


def _checkpoints(settings: Settings) -> Storage:
    return Storage(settings.lake.at("checkpoints"), settings.s3)


def _read_topic_id(settings: Settings, topic: str) -> str:
    try:
        return str(_checkpoints(settings).read_json(f"topic-{topic}.json").get("id", ""))
    except (StorageError, ValueError):
        return ""


def _write_topic_id(settings: Settings, topic: Topic) -> None:
    if topic.id and _read_topic_id(settings, topic.name) != topic.id:
        _checkpoints(settings).write_json(f"topic-{topic.name}.json", {"topic": topic.name, "id": topic.id})
