"""Request for a push: its parameters, and the Kafka records made from its source."""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from conf.errors import UsageError
from streaming.contract.producer_record import ProducerRecord, Unsent
from streaming.errors import ObjectError
from streaming.sources.items import Item, Labelling, Skipped, Source

if TYPE_CHECKING:
    from conf.settings import Settings
    from streaming.contract.record import Upload

DIGITS = "digits"
_HOSTILE_INTERVAL = 20  # pictures between two hostile uploads
_MAX_BATCH_NAME = 128


@dataclass(frozen=True)
class PushRequest:
    """Parameters of a push, and counts that `records` updates while it reads the source.

    Args:
        source: a folder, a zip, a tar, s3://bucket/prefix or the word digits.
        batch: name of the upload batch.
        label_pattern: regular expression, searched in file names; its group `label` is the label.
        devices: number of phones that send.
        repeat: how often the source is sent, with new upload ids each time.
        hostile: number of broken uploads to mix in.
        limit: maximum number of pictures to send, hostile uploads not counted.
        skipped: count: skipped files by reason.
        labels: count: pictures by label, not normalized.
        expected: count: hostile uploads by their expected reject reason.
        referenced: count: `uploads` sent by reference, and their `bytes` in the payload store.
    """

    source: str
    batch: str
    label_pattern: str | None = None
    devices: int = 25
    repeat: int = 1
    hostile: int = 0
    limit: int | None = None
    skipped: Skipped = field(default_factory=Skipped)
    labels: Counter[str] = field(default_factory=Counter)
    expected: Counter[str] = field(default_factory=Counter)
    referenced: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Validate the source and the batch name; ingestion would reject every upload of a bad batch name.

        Raises:
            UsageError: the source is empty; the batch is empty, too long or contains control characters.
        """
        if not self.source:
            raise UsageError(
                "SOURCE '' is empty: give a folder (. is the current one), a zip, a tar, s3://bucket/prefix "
                f"or the word {DIGITS}"
            )
        if not self.batch or not self.batch.isprintable() or len(self.batch) > _MAX_BATCH_NAME:
            raise UsageError(
                f"--batch {self.batch[: _MAX_BATCH_NAME + 1]!r}: "
                f"give 1 to {_MAX_BATCH_NAME} printable characters"
            )


def batch_name(source: str) -> str:
    """The default batch name: the source's name and the time (UTC)."""
    stem = "".join(filter(str.isprintable, Path(source).absolute().name.split(".")[0]))
    return f"{stem[:64] or 'upload'}-{datetime.now(UTC):%Y%m%d-%H%M%S}"


def records(request: PushRequest, settings: "Settings") -> Iterator[ProducerRecord | Unsent]:
    """Make the records of a request, lazily while the source is read. Errors are raised at the call.

    Raises:
        BadSource: the source is missing, no archive, or contains no picture with a label.
        UsageError: the label pattern is not a valid regex.
        ObjectError: the object store refuses a request or does not answer. If it fails later, the rest of the
            source counts as one failure.
    """
    return _until_store_fails(request, _records(request, settings, _open_source(request, settings)))


def _until_store_fails(
    request: PushRequest, records: Iterator[ProducerRecord | Unsent]
) -> Iterator[ProducerRecord | Unsent]:
    """Records made before a store failure are still sent; the rest of the source counts as one failure."""
    try:
        yield from records
    except ObjectError as error:
        yield Unsent(f"the rest of {request.source} was not read: {error}")


def _open_source(request: PushRequest, settings: "Settings") -> Source:
    from streaming.sources import buckets
    from streaming.sources.digits import DigitsSource
    from streaming.sources.folders import open_source

    labelling = Labelling.from_pattern(request.label_pattern)
    if request.source == DIGITS:
        return DigitsSource(request.devices)
    if buckets.is_uri(request.source):
        return buckets.open_source(request.source, labelling, settings.push, settings.s3)
    return open_source(request.source, labelling, settings.push)


def _records(request: PushRequest, settings: "Settings", source: Source) -> Iterator[ProducerRecord | Unsent]:
    from streaming.upload.hostile import FaultGenerator
    from streaming.upload.offload import PayloadOffloader
    from streaming.upload.phones import Fleet

    fleet, faults = Fleet(request.devices, request.batch), FaultGenerator.of(settings)
    recent: deque[Upload] = deque(maxlen=request.devices)

    def hostile_record(number: int) -> ProducerRecord:
        hostile = faults.generate(recent[number % len(recent)], number)
        request.expected[hostile.reason] += 1
        return hostile.record

    hostile_numbers = iter(range(request.hostile))
    for number, offloaded in enumerate(PayloadOffloader(settings).offload(_items(request, source))):
        if offloaded.problem is not None:
            yield Unsent(offloaded.problem)
            continue
        upload = fleet.upload(number, offloaded.item)
        if offloaded.dataref is not None:
            upload = replace(upload, content=None, dataref=offloaded.dataref)
            request.referenced.update(uploads=1, bytes=len(offloaded.item.content))
        recent.append(upload)
        request.labels[offloaded.item.label or ""] += 1
        yield ProducerRecord.of(recent[-1])
        if number % _HOSTILE_INTERVAL == _HOSTILE_INTERVAL - 1:
            yield from map(hostile_record, islice(hostile_numbers, 1))
    if recent:
        yield from map(hostile_record, hostile_numbers)


def _items(request: PushRequest, source: Source) -> Iterator[Item]:
    items = chain.from_iterable(source.items(request.skipped) for _ in range(request.repeat))
    return islice(_labelled(items, request.skipped), request.limit)


def _labelled(items: Iterator[Item], skipped: Skipped) -> Iterator[Item]:
    for item in items:
        if item.label is None:
            skipped.add("no label", item.name)
        else:
            yield item
