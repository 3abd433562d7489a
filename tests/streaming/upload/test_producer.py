"""Pushing to a real broker: acknowledged records are in the topic exactly once, byte for byte."""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka.errors import KafkaTimeoutError

from conf.sections import Kafka
from conf.settings import Settings
from jobs import push as job
from streaming import topics
from streaming.contract.producer_record import ProducerRecord, Unsent
from streaming.errors import BrokerUnreachable
from streaming.upload import producer
from streaming.upload.producer import push
from streaming.upload.push_report import PushReport
from streaming.upload.push_request import PushRequest
from tests.support import pictures
from tests.support.commands import Hub
from tests.support.sent import identity, producer_records, received_counts, records
from tests.support.uploads import received


@pytest.mark.services
def test_everything_acknowledged_arrives_byte_for_byte(kafka: Kafka, settings: Settings) -> None:
    sent = producer_records(PushRequest("digits", "b", hostile=28, limit=300), settings)
    report = push(kafka, settings.push, kafka.bootstrap, sent)
    assert (report.sent, report.acknowledged, report.failed) == (328, 328, 0)
    assert report.bytes == sum(len(record.value or b"") for record in sent)
    assert received_counts(kafka) == Counter(map(identity, sent))


@pytest.mark.services
def test_uploads_of_a_device_stay_in_order(kafka: Kafka, settings: Settings) -> None:
    sent = records(2000)
    push(kafka, settings.push, kafka.bootstrap, sent)
    for device in {record.key for record in sent}:
        arrived = [each.value for each in received(kafka, kafka.topic) if each.key == device]
        assert arrived == [record.value for record in sent if record.key == device]


@pytest.mark.services
def test_missing_topics_are_created(settings: Settings, broker: str, topic: str) -> None:
    fresh = settings.kafka.model_copy(
        update={
            "bootstrap": broker,
            "topic": topic,
            "rejected_topic": f"{topic}.rejected",
            "verdicts_topic": f"{topic}.verdicts",
        }
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
def test_only_the_record_that_is_too_large_fails(kafka: Kafka, settings: Settings) -> None:
    good, huge = records(2), records(1, topics.RECORD_BYTES)
    report = push(
        kafka, settings.push, kafka.bootstrap, [good[0], *huge, Unsent("x.jpg: too large"), good[1]]
    )
    assert (report.sent, report.acknowledged, report.failed, report.gave_up) == (3, 2, 2, False)
    assert "MessageSizeTooLarge" in (report.first_error or "")


@pytest.mark.services
def test_rate_is_limited(kafka: Kafka, settings: Settings) -> None:
    report = push(kafka, settings.push, kafka.bootstrap, records(40), rate=40)
    assert 0.9 <= report.seconds < 3
    assert report.acknowledged == 40


@pytest.mark.services
def test_first_interrupt_waits_for_records_in_flight(kafka: Kafka, settings: Settings) -> None:
    before = signal.getsignal(signal.SIGINT)

    def endless() -> Iterator[ProducerRecord]:
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
    assert job.exit_status(report) == 130


def test_absent_broker_is_an_error_in_time(settings: Settings) -> None:
    kafka = settings.kafka.model_copy(update={"connect_seconds": 2.0})
    begun = time.monotonic()
    with pytest.raises(BrokerUnreachable, match=r"127\.0\.0\.1:9 within 2 s") as caught:
        push(kafka, settings.push, "127.0.0.1:9", records(1))
    assert time.monotonic() - begun < 4
    assert "\n" not in str(caught.value)


def test_permanent_loss_of_the_cluster_ends_the_push(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every record of this producer times out: the rest of the source is not read."""
    monkeypatch.setattr(producer, "KafkaProducer", _Expiring)
    monkeypatch.setattr(topics, "partitions", lambda *_: [0])
    report = push(settings.kafka, settings.push, "127.0.0.1:9", records(50))
    assert report.gave_up
    assert (report.sent, report.acknowledged, report.failed) == (1, 0, 1)
    assert job.exit_status(report) == 1


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
def test_command_prints_one_json_object(kafka: Kafka, hub: Hub) -> None:
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
def test_command_names_pictures_that_were_not_sent(kafka: Kafka, hub: Hub, tmp_path: Path) -> None:
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
        ([""], 2, "SOURCE '' is empty: give a folder (. is the current one)"),
        (["~no-such-user/x"], 1, "this user has no home folder"),
        (["digits", "--label-pattern", "("], 2, "not a valid regex"),
        (["digits", "--batch", ""], 2, "--batch"),
        (["digits", "--devices", "0"], 2, "devices"),
        (["digits", "--rate", "0"], 2, "rate"),
    ],
)
def test_wrong_argument_is_an_error_of_one_line(
    arguments: list[str], status: int, message: str, hub: Hub
) -> None:
    done = hub("push", *arguments, HUB__KAFKA__BOOTSTRAP="127.0.0.1:9", HUB__KAFKA__CONNECT_SECONDS="1")
    assert done.status == status
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


def test_command_without_a_broker_is_an_error_of_one_line(hub: Hub) -> None:
    done = hub("push", "digits", HUB__KAFKA__BOOTSTRAP="127.0.0.1:9", HUB__KAFKA__CONNECT_SECONDS="1")
    assert done.status == 1
    assert "no Kafka broker answers at 127.0.0.1:9" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
