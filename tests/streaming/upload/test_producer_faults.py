"""The broker is stopped while uploads are in flight."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from conf.settings import Settings
from streaming import topics
from streaming.contract.producer_record import ProducerRecord
from streaming.upload.producer import push
from streaming.upload.push_report import PushReport
from tests.support.sent import identity, received_counts, records
from tests.support.uploads import received
from tests.support.waiting import wait_until


@pytest.mark.faults
@pytest.mark.services
def test_broker_restart_during_a_push_loses_and_duplicates_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    """The broker is stopped while uploads are in flight, and restarted a while later."""
    from local import broker

    own = settings.model_copy(update={"broker": settings.broker.model_copy(update={"dir": tmp_path / "own"})})
    broker.up(own)
    try:
        bootstrap = broker.address(own)
        kafka = own.kafka.model_copy(update={"bootstrap": bootstrap})
        topics.create(kafka, bootstrap)
        sent = records(6000, 5000)
        reports: list[PushReport] = []
        seen: list[PushReport] = []
        pushing = threading.Thread(
            target=lambda: reports.append(
                push(kafka, own.push, bootstrap, sent, rate=1000, on_progress=lambda r: seen.append(r))
            )
        )
        pushing.start()
        assert wait_until(lambda: bool(seen) and seen[0].acknowledged > 1000)
        broker.down(own)
        before_stop = seen[0].acknowledged
        assert wait_until(lambda: seen[0].sent > before_stop + 500)
        assert broker.up(own).bootstrap == bootstrap
        pushing.join(timeout=90)
        (report,) = reports
        assert before_stop < 6000
        assert (report.sent, report.acknowledged, report.failed) == (6000, 6000, 0)
        assert received_counts(kafka) == Counter(map(identity, sent))
    finally:
        broker.down(own)


@pytest.mark.faults
@pytest.mark.services
def test_broker_that_stays_down_fails_unacknowledged_records(settings: Settings, tmp_path: Path) -> None:
    from local import broker

    own = settings.model_copy(
        update={
            "broker": settings.broker.model_copy(update={"dir": tmp_path / "own"}),
            "push": settings.push.model_copy(update={"retry_seconds": 6.0}),
        }
    )
    broker.up(own)
    try:
        bootstrap = broker.address(own)
        kafka = own.kafka.model_copy(update={"bootstrap": bootstrap})
        topics.create(kafka, bootstrap)

        def stopped_half_way() -> Iterator[ProducerRecord]:
            for number, record in enumerate(records(100_000, 100)):
                if number == 2000:
                    broker.down(own)
                yield record

        begun = time.monotonic()
        report = push(kafka, own.push, bootstrap, stopped_half_way(), rate=2000)
        assert time.monotonic() - begun < 60
        assert report.gave_up
        assert report.sent == report.acknowledged + report.failed < 100_000
        assert report.first_error
        broker.up(own)
        arrived = Counter(each.key for each in received(kafka, kafka.topic))
        assert arrived.total() >= report.acknowledged
        assert max(Counter(dict(r.headers)["ce_id"] for r in received(kafka, kafka.topic)).values()) == 1
    finally:
        broker.down(own)
