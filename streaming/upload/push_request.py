"""What is asked of a push, and the records that come of it."""

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
_EVERY = 20  # pictures between two hostile uploads
_BATCH_CHARACTERS = 128


@dataclass(frozen=True)
class PushRequest:
    """What is to be pushed.

    Args:
        source: a folder, a zip, a tar, s3://bucket/prefix or the word digits.
        batch: name of the upload batch.
        label_pattern: regular expression whose group `label`, found in a file name, is the label.
        devices: phones that send.
        repeat: times the source is sent, with new upload ids each time.
        hostile: broken uploads that are mixed in.
        limit: pictures that are sent at most, the hostile ones not counted.
        skipped: filled while the source is read: what was not sent, by reason.
        labels: filled likewise: pictures by claimed label.
        expected: filled likewise: hostile uploads by the reason they must be rejected for.
        referenced: filled likewise: uploads whose bytes went to the object store, and those bytes.
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
        """Refuse a source that is none, and a batch name that every upload would be rejected for.

        Raises:
            UsageError: the source is empty; the batch is, or is too long or holds control characters.
        """
        if not self.source:
            raise UsageError(
                "SOURCE '' is empty: give a folder (. is the current one), a zip, a tar, s3://bucket/prefix "
                f"or the word {DIGITS}"
            )
        if not self.batch or not self.batch.isprintable() or len(self.batch) > _BATCH_CHARACTERS:
            raise UsageError(
                f"--batch {self.batch[: _BATCH_CHARACTERS + 1]!r}: "
                f"give 1 to {_BATCH_CHARACTERS} printable characters"
            )


def batch_name(source: str) -> str:
    """A name for a batch: its source and the time (UTC)."""
    stem = "".join(filter(str.isprintable, Path(source).absolute().name.split(".")[0]))
    return f"{stem[:64] or 'upload'}-{datetime.now(UTC):%Y%m%d-%H%M%S}"


def records(order: PushRequest, settings: "Settings") -> Iterator[ProducerRecord | Unsent]:
    """The records of an order, made as they are read.

    Raises:
        BadSource: the source is missing, no archive, or holds no picture with a label; raised at once.
        UsageError: the label pattern is none; raised at once.
        ObjectError: the object store refuses or does not answer; raised at once. Where it goes away later,
            the rest of the source is one failure.
    """
    return _all_that_is_read(order, _records(order, settings, _source(order, settings)))


def _all_that_is_read(
    order: PushRequest, records: Iterator[ProducerRecord | Unsent]
) -> Iterator[ProducerRecord | Unsent]:
    """What was read before a store went away is sent and settled; the rest counts as one failure."""
    try:
        yield from records
    except ObjectError as error:
        yield Unsent(f"the rest of {order.source} was not read: {error}")


def _source(order: PushRequest, settings: "Settings") -> Source:
    from streaming.sources import buckets
    from streaming.sources.digits import Digits
    from streaming.sources.folders import open_source

    labelling = Labelling.by(order.label_pattern)
    if order.source == DIGITS:
        return Digits(order.devices)
    if buckets.is_uri(order.source):
        return buckets.open_source(order.source, labelling, settings.push, settings.s3)
    return open_source(order.source, labelling, settings.push)


def _records(order: PushRequest, settings: "Settings", source: Source) -> Iterator[ProducerRecord | Unsent]:
    from streaming.upload.hostile import FaultGenerator
    from streaming.upload.offload import PayloadOffloader
    from streaming.upload.phones import Fleet

    fleet, spoiler = Fleet(order.devices, order.batch), FaultGenerator.of(settings)
    recent: deque[Upload] = deque(maxlen=order.devices)

    def spoilt(number: int) -> ProducerRecord:
        hostile = spoiler.spoil(recent[number % len(recent)], number)
        order.expected[hostile.reason] += 1
        return hostile.record

    broken = iter(range(order.hostile))
    for number, parcel in enumerate(PayloadOffloader(settings).parcels(_items(order, source))):
        if parcel.problem is not None:
            yield Unsent(parcel.problem)
            continue
        upload = fleet.upload(number, parcel.item)
        if parcel.dataref is not None:
            upload = replace(upload, content=None, dataref=parcel.dataref)
            order.referenced.update(uploads=1, bytes=len(parcel.item.content))
        recent.append(upload)
        order.labels[parcel.item.label or ""] += 1
        yield ProducerRecord.of(recent[-1])
        if number % _EVERY == _EVERY - 1:
            yield from map(spoilt, islice(broken, 1))
    if recent:
        yield from map(spoilt, broken)


def _items(order: PushRequest, source: Source) -> Iterator[Item]:
    items = chain.from_iterable(source.items(order.skipped) for _ in range(order.repeat))
    return islice(_labelled(items, order.skipped), order.limit)


def _labelled(items: Iterator[Item], skipped: Skipped) -> Iterator[Item]:
    for item in items:
        if item.label is None:
            skipped.add("no label", item.name)
        else:
            yield item
