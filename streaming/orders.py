"""What is asked of a push, and the records that come of it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conf.settings import Push
    from streaming.producer import Record
    from streaming.sources import Item, Source

DIGITS = "digits"
_EVERY = 20  # pictures between two hostile uploads


@dataclass(frozen=True)
class Order:
    """What is to be pushed.

    Args:
        source: a folder, a zip, a tar, or the word digits.
        batch: name of the upload batch.
        label_pattern: regular expression whose group `label`, found in a file name, is the label.
        devices: phones that send.
        repeat: times the source is sent, with new upload ids each time.
        hostile: broken uploads that are mixed in.
        passed_over: filled while the source is read: what was not sent, by reason.
    """

    source: str
    batch: str
    label_pattern: str | None = None
    devices: int = 25
    repeat: int = 1
    hostile: int = 0
    passed_over: Counter[str] = field(default_factory=Counter)


def batch_name(source: str) -> str:
    """A name for a batch: its source and the time (UTC)."""
    stem = Path(source.rstrip("/")).name.split(".")[0] or "upload"
    return f"{stem}-{datetime.now(UTC):%Y%m%d-%H%M%S}"


def records(order: Order, limits: "Push") -> Iterator["Record"]:
    """The records of an order, made as they are read.

    Raises:
        BadSource: the source is missing, no archive, or holds no picture; raised at once.
        UsageError: the label pattern is none.
    """
    from streaming.digits import Digits
    from streaming.sources import Labelling, open_source

    labelling = Labelling.by(order.label_pattern)
    source: Source
    if order.source == DIGITS and not Path(DIGITS).exists():
        source = Digits(order.devices)
    else:
        source = open_source(order.source, labelling, limits)
    return _records(order, source)


def _records(order: Order, source: "Source") -> Iterator["Record"]:
    from streaming.hostile import hostile
    from streaming.phones import Fleet
    from streaming.producer import Record

    fleet = Fleet(order.devices, order.batch)
    items = chain.from_iterable(source.items(order.passed_over) for _ in range(order.repeat))
    broken: Iterator[Record] = iter(())
    for number, item in enumerate(_labelled(items, order.passed_over)):
        if number == 0 and order.hostile:
            spoilt = hostile(order.hostile, fleet, item.label or "")
            broken = (Record(each.key, each.value, each.headers) for each in spoilt)
        yield Record.of(fleet.upload(number, item))
        if number % _EVERY == 0:
            yield from (record for record in (next(broken, None),) if record is not None)
    yield from broken


def _labelled(items: Iterator["Item"], passed_over: Counter[str]) -> Iterator["Item"]:
    for item in items:
        if item.label is None:
            passed_over["no label"] += 1
        else:
            yield item
