"""Request for a push: its parameters, and the Kafka records made from its source."""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from conf.errors import UsageError
from lake.errors import BadLabel
from lake.label_slug import label_slug
from streaming.contract.producer_record import ProducerRecord, Unsent
from streaming.errors import ObjectError, UnusableLabels
from streaming.sources.items import Item, Skipped, Source
from streaming.sources.labels.labelling import LabelFlags, Labelling
from streaming.sources.labels.survey import LabelSurvey

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
        label_from: `folder:N`, the folder that names the label.
        labels_from: file with the columns path,label, or in another format (`streaming.sources.labels.rows`).
        label_map: CSV of name,label: labels that are replaced.
        follow_links: of a folder, also read links that lead out of it.
        skipped: count: skipped files by reason.
        labels: count: pictures by label, as it is written.
        expected: count: hostile uploads by their expected reject reason.
        referenced: count: `uploads` sent by reference, and their `bytes` in the payload store.
        notes: what the user may not expect of the labels.
    """

    source: str
    batch: str
    label_pattern: str | None = None
    devices: int = 25
    repeat: int = 1
    hostile: int = 0
    limit: int | None = None
    label_from: str | None = None
    labels_from: str | None = None
    label_map: str | None = None
    follow_links: bool = False
    skipped: Skipped = field(default_factory=Skipped)
    labels: Counter[str] = field(default_factory=Counter)
    expected: Counter[str] = field(default_factory=Counter)
    referenced: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

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


def records(
    request: PushRequest, settings: "Settings", on_name: Callable[[], object] = lambda: None
) -> Iterator[ProducerRecord | Unsent]:
    """Make the records of a request, lazily while the source is read. Errors are raised at the call.

    All names are read first, so that nothing is sent if there is a label that ingestion would reject.

    Args:
        on_name: called for each name that was read.

    Raises:
        BadSource: the source is missing, no archive, or contains no picture with a label.
        UnusableLabels: names in the source cannot be labels.
        UsageError: a label flag cannot be used.
        ObjectError: the object store refuses a request or does not answer. If it fails later, the rest of the
            source counts as one failure.
    """
    source, survey = _open_source(request, settings)
    _take(survey, source.items(survey.skipped, names_only=True), request.limit, on_name)
    if problem := survey.problem():
        raise UnusableLabels(problem)
    request.notes.extend(survey.notes())
    return _until_store_fails(request, _records(request, settings, source))


def dry_run(
    request: PushRequest, settings: "Settings", on_name: Callable[[], object] = lambda: None
) -> LabelSurvey:
    """Read the source once as a push would, and send nothing.

    Args:
        on_name: called for each picture that was read.

    Returns:
        the labels; also those that cannot be used.

    Raises:
        BadSource: the source is missing, no archive, or contains no picture with a label.
        UsageError: a label flag cannot be used.
        ObjectError: the object store refuses a request or does not answer.
    """
    source, survey = _open_source(request, settings)
    _take(survey, source.items(survey.skipped), request.limit, on_name)
    return survey


def _take(
    survey: LabelSurvey, items: Iterator[Item], limit: int | None, on_name: Callable[[], object]
) -> None:
    for item in items:
        survey.add(item)
        on_name()
        if survey.labelled == limit:
            return


def _until_store_fails(
    request: PushRequest, records: Iterator[ProducerRecord | Unsent]
) -> Iterator[ProducerRecord | Unsent]:
    """Records made before a store failure are still sent; the rest of the source counts as one failure."""
    try:
        yield from records
    except ObjectError as error:
        yield Unsent(f"the rest of {request.source} was not read: {error}")


def _open_source(request: PushRequest, settings: "Settings") -> tuple[Source, LabelSurvey]:
    from streaming.contract.rules import closed_labels
    from streaming.sources import buckets
    from streaming.sources.digits import DigitsSource
    from streaming.sources.folders import open_source

    flags = LabelFlags(request.label_pattern, request.label_from, request.labels_from, request.label_map)
    labelling = Labelling.of(flags, request.source)
    if request.source == DIGITS:
        source: Source = DigitsSource(request.devices)
    elif buckets.is_uri(request.source):
        source = buckets.open_source(request.source, labelling, settings.push, settings.s3)
    else:
        source = open_source(request.source, labelling, settings.push, request.follow_links)
    return source, LabelSurvey(request.source, labelling, source.root, closed_labels(settings.labels))


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
    """The pictures that can be sent. A source that has changed since its names were read may have others."""
    for item in items:
        if item.label is None:
            skipped.add(item.unlabelled, item.name)
        elif _has_slug(item.label):
            yield item
        else:
            skipped.add("what cannot be a label", item.name)


def _has_slug(label: str) -> bool:
    try:
        return bool(label_slug(label))
    except BadLabel:
        return False
