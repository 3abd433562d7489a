"""Pushing to a real broker: what is acknowledged is in the topic, once and byte for byte."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka.errors import KafkaTimeoutError

from conf.errors import UsageError
from conf.settings import Kafka, Settings
from jobs import push as job
from streaming import orders, producer, topics
from streaming.errors import BadSource, BrokerUnreachable
from streaming.items import Item
from streaming.orders import Order
from streaming.phones import Fleet
from streaming.producer import push
from streaming.pushed import PushReport
from streaming.wire import Record, Unsent
from tests import pictures
from tests.conftest import Hub, comes_true
from tests.uploads import received


def records(count: int, size: int = 1000, devices: int = 5) -> list[Record]:
    fleet = Fleet(devices, "tests")
    items = (Item(f"cat/{n}.jpg", os.urandom(size), "cat") for n in range(count))
    return [Record.of(fleet.upload(number, item)) for number, item in enumerate(items)]


def made(order: Order, settings: Settings) -> list[Record]:
    return [record for record in orders.records(order, settings) if isinstance(record, Record)]


def header(record: Record, name: str) -> str:
    return (dict(record.headers)[name] or b"").decode()


# What is made of a source: no broker needed.


def test_uploads_of_an_order_carry_ids_devices_users_and_hashes(settings: Settings, tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for n in range(10):
            (tmp_path / label / f"{n}.jpg").write_bytes(pictures.jpeg(seed=n))
    order = Order(str(tmp_path), "batch 7", devices=3, repeat=2)
    sent = made(order, settings)
    assert len(sent) == 40
    assert len({header(record, "ce_id") for record in sent}) == 40
    assert [record.key for record in sent[:4]] == [b"phone-001", b"phone-002", b"phone-003", b"phone-001"]
    assert {header(record, "ce_source") for record in sent} == {f"/devices/phone-00{n}" for n in (1, 2, 3)}
    assert {header(record, "ce_batch") for record in sent} == {"batch 7"}
    assert order.labels == {"cat": 20, "dog": 20}
    assert [record.value for record in sent[:20]] == [record.value for record in sent[20:]]


def test_each_device_has_one_user(settings: Settings) -> None:
    sent = made(Order("digits", "b", limit=60), settings)
    users = {(record.key, header(record, "ce_user")) for record in sent}
    assert len(users) == len({record.key for record in sent}) == 25


def test_same_order_gives_the_same_pictures_to_the_same_devices(settings: Settings) -> None:
    first, second = (made(Order("digits", "b", limit=40, hostile=14), settings) for _ in range(2))
    assert [(r.key, r.value) for r in first] == [(r.key, r.value) for r in second]


def test_hostile_uploads_are_mixed_in_and_counted(settings: Settings) -> None:
    order = Order("digits", "b", hostile=30, limit=400)
    sent = made(order, settings)
    assert len(sent) == 430
    assert order.expected.total() == 30
    values = [len(record.value or b"") for record in sent]
    first_twenty = made(Order("digits", "b", limit=20), settings)
    assert [record.value for record in sent[:20]] == [record.value for record in first_twenty]
    assert values.index(0) < 100  # an empty one comes early, not all at the end


def test_picture_above_the_inline_limit_is_not_sent_but_told(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "large.jpg").write_bytes(bytes(settings.push.inline_limit + 1))
    (tmp_path / "cat" / "small.jpg").write_bytes(pictures.jpeg())
    unsent, sent = orders.records(Order(str(tmp_path), "b"), settings)
    assert isinstance(unsent, Unsent)
    assert unsent.why.startswith("cat/large.jpg: 10,485,761 bytes, at most 10,485,760")
    assert isinstance(sent, Record)


def test_bad_source_is_told_before_anything_is_sent(settings: Settings) -> None:
    with pytest.raises(BadSource):
        orders.records(Order("no/such/folder", "b"), settings)


@pytest.mark.parametrize("batch", ["", "two\nlines", "x" * 200])
def test_batch_name_that_every_upload_would_be_rejected_for_is_refused(batch: str) -> None:
    with pytest.raises(UsageError, match="--batch"):
        Order("digits", batch)


@pytest.mark.parametrize("source", ["digits", "a/b.tar.gz", "a/b/", ".", "/", "x\ny", "ü" * 200])
def test_default_batch_name_is_allowed(source: str) -> None:
    assert Order(source, orders.batch_name(source)).batch


# With the broker of the test run.


@pytest.mark.services
def test_everything_acknowledged_arrives_byte_for_byte(kafka: Kafka, settings: Settings) -> None:
    sent = made(Order("digits", "b", hostile=28, limit=300), settings)
    report = push(kafka, settings.push, kafka.bootstrap, sent)
    assert (report.sent, report.acknowledged, report.failed) == (328, 328, 0)
    assert report.bytes == sum(len(record.value or b"") for record in sent)
    assert _arrived(kafka) == Counter(map(_identity, sent))


@pytest.mark.services
def test_uploads_of_a_device_stay_in_order(kafka: Kafka, settings: Settings) -> None:
    sent = records(2000)
    push(kafka, settings.push, kafka.bootstrap, sent)
    for device in {record.key for record in sent}:
        arrived = [each.value for each in received(kafka, kafka.topic) if each.key == device]
        assert arrived == [record.value for record in sent if record.key == device]


@pytest.mark.services
def test_missing_topics_are_made(settings: Settings, broker: str, topic: str) -> None:
    fresh = settings.kafka.model_copy(
        update={"bootstrap": broker, "topic": topic, "rejected_topic": f"{topic}.rejected"}
    )
    assert push(fresh, settings.push, broker, records(3)).acknowledged == 3


@pytest.mark.services
def test_bytes_in_flight_are_bounded(kafka: Kafka, settings: Settings) -> None:
    limits = settings.push.model_copy(update={"in_flight_bytes": 400_000})
    most = 0

    def watch(report: PushReport) -> None:
        nonlocal most
        most = max(most, report.sent - report.acknowledged)

    report = push(kafka, limits, kafka.bootstrap, records(100, 50_000), on_progress=watch)
    assert report.acknowledged == 100
    assert most <= 8


@pytest.mark.services
def test_record_larger_than_the_window_is_sent_alone(kafka: Kafka, settings: Settings) -> None:
    limits = settings.push.model_copy(update={"in_flight_bytes": 1000})
    assert push(kafka, limits, kafka.bootstrap, records(5, 20_000)).acknowledged == 5


@pytest.mark.services
def test_record_that_the_broker_does_not_take_fails_alone(kafka: Kafka, settings: Settings) -> None:
    good, huge = records(2), records(1, topics.RECORD_BYTES)
    report = push(
        kafka, settings.push, kafka.bootstrap, [good[0], *huge, Unsent("x.jpg: too large"), good[1]]
    )
    assert (report.sent, report.acknowledged, report.failed, report.gave_up) == (3, 2, 2, False)
    assert "MessageSizeTooLarge" in (report.first_error or "")


@pytest.mark.services
def test_rate_is_held(kafka: Kafka, settings: Settings) -> None:
    report = push(kafka, settings.push, kafka.bootstrap, records(40), rate=40)
    assert 0.9 <= report.seconds < 3
    assert report.acknowledged == 40


@pytest.mark.services
def test_first_interrupt_settles_what_is_in_flight(kafka: Kafka, settings: Settings) -> None:
    before = signal.getsignal(signal.SIGINT)

    def endless() -> Iterator[Record]:
        for number, record in enumerate(records(5000)):
            if number == 1000:
                os.kill(os.getpid(), signal.SIGINT)
            yield record

    report = push(kafka, settings.push, kafka.bootstrap, endless())
    assert report.interrupted
    assert 1000 <= report.sent <= 1001
    assert (report.acknowledged, report.failed) == (report.sent, 0)
    assert len(received(kafka, kafka.topic)) == report.sent
    assert signal.getsignal(signal.SIGINT) is before
    assert job.status(report) == 130


def test_absent_broker_is_told_in_time(settings: Settings) -> None:
    kafka = settings.kafka.model_copy(update={"connect_seconds": 2.0})
    begun = time.monotonic()
    with pytest.raises(BrokerUnreachable, match=r"127\.0\.0\.1:9 within 2 s") as caught:
        push(kafka, settings.push, "127.0.0.1:9", records(1))
    assert time.monotonic() - begun < 4
    assert "\n" not in str(caught.value)


def test_cluster_that_goes_for_good_ends_the_push(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A producer whose every record expires: the rest of the source is not read."""
    monkeypatch.setattr(producer, "KafkaProducer", _Expiring)
    monkeypatch.setattr(topics, "partitions", lambda *_: [0])
    report = push(settings.kafka, settings.push, "127.0.0.1:9", records(50))
    assert report.gave_up
    assert (report.sent, report.acknowledged, report.failed) == (1, 0, 1)
    assert job.status(report) == 1


class _Expiring:
    def __init__(self, **_: object) -> None:
        pass

    def send(self, *_: object, **__: object) -> None:
        raise KafkaTimeoutError("expired")

    def flush(self, timeout: float) -> None:
        pass

    def close(self, timeout: float) -> None:
        pass


# The command, as a user runs it.


@pytest.mark.services
def test_command_answers_one_json_object(kafka: Kafka, hub: Hub) -> None:
    import json

    done = hub(
        "push", "digits", "--limit", "50", "--hostile", "14", "--batch", "mine", "--json",
        HUB__KAFKA__BOOTSTRAP=kafka.bootstrap, HUB__KAFKA__TOPIC=kafka.topic,
    )  # fmt: skip
    assert done.status == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["sent"], answer["acknowledged"], answer["failed"], answer["batch"]) == (64, 64, 0, "mine")
    assert sum(answer["labels"].values()) == 50
    assert sum(answer["hostile"].values()) == 14
    assert answer["images_per_second"] > 0
    assert len(received(kafka, kafka.topic)) == 64


@pytest.mark.services
def test_command_names_what_was_not_sent(kafka: Kafka, hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.jpg").write_bytes(pictures.jpeg())
    (tmp_path / "cat" / "README.md").write_text("text")
    (tmp_path / "cat" / "large.jpg").write_bytes(bytes(10 * 2**20 + 1))
    done = hub("push", str(tmp_path), HUB__KAFKA__BOOTSTRAP=kafka.bootstrap, HUB__KAFKA__TOPIC=kafka.topic)
    assert done.status == 1
    assert "1 sent, 1 acknowledged, 1 failed" in done.stdout
    assert "cat/README.md" in done.stdout
    assert "cat/large.jpg" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nowhere.zip"], 1, "nowhere.zip: no such folder or file"),
        (["digits", "--label-pattern", "("], 2, "no regular expression"),
        (["digits", "--batch", ""], 2, "--batch"),
        (["digits", "--devices", "0"], 2, "devices"),
        (["digits", "--rate", "0"], 2, "rate"),
    ],
)
def test_wrong_argument_is_one_line(arguments: list[str], status: int, message: str, hub: Hub) -> None:
    done = hub("push", *arguments, HUB__KAFKA__BOOTSTRAP="127.0.0.1:9", HUB__KAFKA__CONNECT_SECONDS="1")
    assert done.status == status
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


def test_command_without_a_broker_is_one_line(hub: Hub) -> None:
    done = hub("push", "digits", HUB__KAFKA__BOOTSTRAP="127.0.0.1:9", HUB__KAFKA__CONNECT_SECONDS="1")
    assert done.status == 1
    assert "no Kafka broker answers at 127.0.0.1:9" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


# Faults.


@pytest.mark.faults
@pytest.mark.services
def test_broker_stopped_in_mid_push_loses_and_doubles_nothing(settings: Settings, tmp_path: Path) -> None:
    """The broker is stopped while uploads are in flight, stays away for a while, and comes back."""
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
        assert comes_true(lambda: bool(seen) and seen[0].acknowledged > 1000)
        broker.down(own)
        away = seen[0].acknowledged
        assert comes_true(lambda: seen[0].sent > away + 500)
        assert broker.up(own).bootstrap == bootstrap
        pushing.join(timeout=90)
        (report,) = reports
        assert away < 6000
        assert (report.sent, report.acknowledged, report.failed) == (6000, 6000, 0)
        assert _arrived(kafka) == Counter(map(_identity, sent))
    finally:
        broker.down(own)


@pytest.mark.faults
@pytest.mark.services
def test_broker_that_stays_away_fails_what_is_not_acknowledged(settings: Settings, tmp_path: Path) -> None:
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

        def stopped_half_way() -> Iterator[Record]:
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


def _identity(record: Record) -> tuple[object, ...]:
    return record.key, record.value, tuple(record.headers)


def _arrived(kafka: Kafka) -> Counter[tuple[object, ...]]:
    return Counter((r.key, r.value, tuple(r.headers)) for r in received(kafka, kafka.topic))
