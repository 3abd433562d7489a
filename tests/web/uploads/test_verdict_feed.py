"""Verdicts that the copy of the ledger has before the topic: told at once, and once."""

import asyncio
from typing import Any

import pytest

from conf.settings import Settings
from streaming.contract.verdict import Verdict
from streaming.contract.verdict_record import VerdictRecord
from tests.web import lakes
from web.data.uploads import LedgerUpload
from web.uploads.verdict_feed import VerdictEvent, VerdictFeed


@pytest.fixture
def feed(settings: Settings) -> VerdictFeed:
    """A feed whose thread does not run."""
    return VerdictFeed(settings, lambda: "")


def _of_ledger(number: int) -> LedgerUpload:
    row = lakes.upload_row(number) | {"file_id": 0, "file_row": number}
    return LedgerUpload.of({name: row[name] for name in LedgerUpload.__dataclass_fields__})


def _of_topic(number: int, offset: int, reason: str | None = None) -> VerdictEvent:
    row = lakes.upload_row(number)
    values: dict[str, Any] = {name: row[name] for name in VerdictRecord.__dataclass_fields__}
    values |= {"verdict": Verdict.REJECTED if reason else Verdict.ACCEPTED, "reason": reason, "flags": ()}
    return VerdictEvent({0: offset + 1}, VerdictRecord(**values), 0, offset)


def _read(
    feed: VerdictFeed, *events: VerdictEvent | LedgerUpload, last: str | None = None
) -> list[VerdictEvent]:
    """What a reader gets of events from the ledger and the topic."""

    async def run() -> list[VerdictEvent]:
        with feed.reader(last) as queue:
            for event in events:
                if isinstance(event, LedgerUpload):
                    feed.tell([event])
                else:
                    feed._publish(event)
            await asyncio.sleep(0)
            found = [queue.get_nowait() for _ in range(queue.qsize())]
        return [event for event in found if event is not None]

    return asyncio.run(run())


def test_a_verdict_of_the_ledger_is_told_at_once_and_its_record_only_moves_the_place(
    feed: VerdictFeed,
) -> None:
    early, late = _read(feed, _of_ledger(1), _of_topic(1, 7))
    assert (early.verdict.upload_id, early.id, early.told) == ("upload-000001", "", False)
    assert (late.id, late.told) == ("0-8", True)


def test_a_verdict_that_came_through_the_topic_is_not_told_again(feed: VerdictFeed) -> None:
    (only,) = _read(feed, _of_topic(1, 7), _of_ledger(1))
    assert (only.id, only.told) == ("0-8", False)


def test_a_repeated_upload_is_told_as_one(feed: VerdictFeed) -> None:
    found = _read(feed, _of_ledger(1), _of_topic(1, 7, "duplicate_upload"), _of_topic(1, 8))
    assert [(event.told, event.verdict.reason) for event in found] == [
        (False, None), (False, "duplicate_upload"), (True, None),
    ]  # fmt: skip


def test_who_comes_back_gets_verdicts_of_the_ledger_too(feed: VerdictFeed) -> None:
    found = _read(feed, _of_ledger(1), _of_topic(1, 7), _of_topic(2, 3), last="0-5")
    assert [(event.id, event.told) for event in found] == [("", False), ("0-8", True)]


def test_a_verdict_of_the_ledger_has_the_place_before_its_record(feed: VerdictFeed) -> None:
    _, early, late = _read(feed, _of_topic(2, 6), _of_ledger(1), _of_topic(1, 7))
    assert (early.id, late.id) == ("0-7", "0-8")
    assert late.is_after({0: 7}), "who comes back with the early place gets the record"


def test_a_later_reader_gets_the_whole_record(feed: VerdictFeed) -> None:
    feed.tell([_of_ledger(1)])
    (only,) = _read(feed, _of_topic(1, 7))
    assert not only.told
