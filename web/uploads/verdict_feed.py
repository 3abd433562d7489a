"""Follows the topic of verdicts, and passes new verdicts on to those who wait for them.

Verdicts on uploads of this server that the copy of the ledger has first are passed on at once, at the place
before their record in the topic; the record then only moves the place.
"""

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from conf.errors import HubError
from conf.settings import Settings
from streaming import topics
from streaming.contract.verdict import Reason
from streaming.contract.verdict_record import VerdictRecord
from web.data.uploads import LedgerUpload

KEPT = 10_000  # newest verdicts, for those who come back
_POLL_MS = 500
_PAUSE_SECONDS = 2.0
_QUEUE = 1000  # verdicts that a slow reader may be behind


@dataclass(frozen=True)
class VerdictEvent:
    """A verdict with its place in the feed.

    Args:
        place: partition to the offset after this verdict, of all partitions read so far.
        verdict: the verdict.
        partition, offset: of its own record; -1 if it was not read yet.
        new: it came while this server was connected, not before.
        told: the reader has this verdict already.
    """

    place: Mapping[int, int]
    verdict: VerdictRecord | LedgerUpload
    partition: int
    offset: int
    new: bool = True
    told: bool = False

    def is_after(self, place: Mapping[int, int] | None) -> bool:
        """Whether somebody who has read up to a place, or up to now (None), has not read it."""
        if place is None or self.offset < 0:
            return self.new
        return self.offset >= place.get(self.partition, 0)

    @property
    def id(self) -> str:
        """The place as text, such as 0-17.3-5: what an EventSource sends back as Last-Event-ID."""
        return ".".join(f"{partition}-{offset}" for partition, offset in sorted(self.place.items()))


def parse_place(text: str) -> dict[int, int]:
    """Read a place; empty for text that is none, so that all kept verdicts come."""
    try:
        pairs = [part.split("-") for part in text.split(".")] if text else []
        return {int(partition): int(offset) for partition, offset in pairs}
    except ValueError:
        return {}


class VerdictFeed:
    """The newest verdicts. A thread reads them; it retries for as long as Kafka is away.

    Args:
        settings: of the hub.
        find_bootstrap: the address of the cluster.
    """

    def __init__(self, settings: Settings, find_bootstrap: Callable[[], str]) -> None:
        self._settings, self._find_bootstrap = settings, find_bootstrap
        self._lock = threading.Lock()
        self._passing = threading.Lock()  # one verdict at a time is passed on, from the topic or the ledger
        self._events: deque[VerdictEvent] = deque(maxlen=KEPT)
        self._by_id: OrderedDict[str, VerdictRecord | LedgerUpload] = OrderedDict()
        self._readers: set[Callable[[VerdictEvent], None]] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="verdicts", daemon=True)
        self._next: dict[int, int] = {}
        self._ends: dict[int, int] = {}  # of the partitions when this server first connected
        self.problem: str | None = "not connected yet"

    def start(self) -> None:
        """Start to read."""
        self._thread.start()

    def stop(self) -> None:
        """Stop to read, and wait for the thread."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def get(self, upload_id: str) -> VerdictRecord | LedgerUpload | None:
        """The verdict on an upload, if it is one of the newest."""
        with self._lock:
            return self._by_id.get(upload_id)

    def tell(self, verdicts: Iterable[LedgerUpload]) -> None:
        """Pass verdicts on that the ledger has; those that came through the topic before are left out."""
        for verdict in verdicts:
            with self._passing:
                with self._lock:
                    known = verdict.upload_id in self._by_id
                    place = self._events[-1].place if self._events else dict(self._next)
                    readers = list(self._readers)
                for call in readers if not known else ():
                    call(VerdictEvent(place, verdict, -1, -1))

    @contextmanager
    def reader(self, last: str | None) -> Iterator["asyncio.Queue[VerdictEvent | None]"]:
        """A queue of verdicts while the block runs; None in it means that the reader was too slow.

        Args:
            last: place of the last verdict that the reader has; None: only new verdicts.
        """
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[VerdictEvent | None] = asyncio.Queue(KEPT + _QUEUE)
        place = None if last is None else parse_place(last)
        told: set[str | None] = set()  # before the topic had them

        def put(event: VerdictEvent) -> None:
            if queue.qsize() < KEPT + _QUEUE - 1:
                queue.put_nowait(event)
            elif not queue.full():
                queue.put_nowait(None)

        def call(event: VerdictEvent) -> None:
            upload_id, repeats = event.verdict.upload_id, event.verdict.reason == Reason.DUPLICATE_UPLOAD
            if event.offset < 0:
                told.add(upload_id)
            elif upload_id in told and not repeats:
                told.discard(upload_id)
                event = replace(event, told=True)
            if event.is_after(place):
                loop.call_soon_threadsafe(put, event)

        with self._lock:
            for event in self._events if place is not None else ():
                if event.is_after(place):
                    queue.put_nowait(event)
            self._readers.add(call)
        try:
            yield queue
        finally:
            with self._lock:
                self._readers.discard(call)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._follow()
            except (HubError, KafkaError, OSError, ValueError) as error:
                self.problem = (str(error).splitlines() or [type(error).__name__])[0]
                self._stopped.wait(_PAUSE_SECONDS)

    def _follow(self) -> None:
        kafka, bootstrap = self._settings.kafka, self._find_bootstrap()
        parts = [
            TopicPartition(kafka.verdicts_topic, number)
            for number in topics.partitions(kafka, bootstrap, kafka.verdicts_topic)
        ]
        if not parts:
            raise ValueError(
                f"no topic {kafka.verdicts_topic!r} at {bootstrap}: run `hub up`, which creates it"
            )
        options = topics.client_options(kafka, bootstrap)
        del options["bootstrap_timeout_ms"]
        consumer = KafkaConsumer(
            **options, group_id=None, auto_offset_reset="earliest", metrics_enabled=False
        )
        try:
            consumer.assign(parts)
            self._seek(consumer, parts)
            self.problem = None
            while not self._stopped.is_set():
                for part, records in consumer.poll(timeout_ms=_POLL_MS).items():
                    self._take(part.partition, records)
        finally:
            consumer.close()

    def _seek(self, consumer: Any, parts: list[TopicPartition]) -> None:
        """Continue where the last connection ended, or start a little before the end."""
        begins, ends = consumer.beginning_offsets(parts), consumer.end_offsets(parts)
        for part in parts:
            start = max(begins[part], ends[part] - KEPT // len(parts))
            known = self._next.get(part.partition)
            if known is not None and begins[part] <= known <= ends[part]:
                start = known
            consumer.seek(part, start)
            self._next[part.partition] = start
            self._ends.setdefault(part.partition, ends[part])

    def _take(self, partition: int, records: list[Any]) -> None:
        for record in records:
            self._next[partition] = record.offset + 1
            try:
                verdict = VerdictRecord.parse(record.value or b"")
            except ValueError:
                continue  # somebody else's record: the topic has no other use
            new = record.offset >= self._ends.get(partition, 0)
            self._publish(VerdictEvent(dict(self._next), verdict, partition, record.offset, new))

    def _publish(self, event: VerdictEvent) -> None:
        with self._passing:
            self._pass_on(event)

    def _pass_on(self, event: VerdictEvent) -> None:
        with self._lock:
            self._events.append(event)
            upload_id = event.verdict.upload_id
            # The first verdict on an id counts: a second upload with it is rejected as a duplicate.
            if upload_id is not None and event.verdict.reason != Reason.DUPLICATE_UPLOAD:
                self._by_id[upload_id] = event.verdict
                if len(self._by_id) > KEPT:
                    self._by_id.popitem(last=False)
            readers = list(self._readers)
        for call in readers:
            call(event)
