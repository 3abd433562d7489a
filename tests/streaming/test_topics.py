"""Topics: created once with the hub's settings, described; and errors when no broker answers."""

import os
import socket
import time

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import MessageSizeTooLargeError

from conf.sections import Kafka
from conf.settings import Settings
from jobs import ingest
from streaming import backlog, topics
from streaming.errors import BrokerUnreachable, StreamingError
from tests.support.commands import Hub
from tests.support.uploads import received

pytestmark = pytest.mark.services


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert isinstance(port, int)
    return port


def test_topics_have_the_hub_s_settings(kafka: Kafka, broker: str) -> None:
    wanted = [ConfigResource(ConfigResourceType.TOPIC, name) for name in topics.names(kafka)]
    with topics.admin_client(kafka, broker) as client:
        described = client.describe_configs(wanted)["topic"]
    for name in topics.names(kafka):
        found = {key: entry["value"] for key, entry in described[name].items()}
        assert found["max.message.bytes"] == "12582912"
        assert found["retention.ms"] == str(168 * 3600 * 1000)
        assert {key: found[key] for key in topics.REQUIRED_CONFIG} == topics.REQUIRED_CONFIG
    assert topics.partitions(kafka, broker, kafka.topic) == [0, 1, 2, 3]


def test_creating_topics_twice_changes_nothing(kafka: Kafka, broker: str) -> None:
    assert topics.create(kafka, broker) == []


def test_refused_topic_is_reported(kafka: Kafka, broker: str) -> None:
    greedy = kafka.model_copy(update={"topic": f"{kafka.topic}-3", "replication": 3})
    with pytest.raises(StreamingError, match=f"cannot create topic {kafka.topic}-3"):
        topics.create(greedy, broker)


def test_missing_topic_has_no_partitions(kafka: Kafka, broker: str) -> None:
    assert topics.partitions(kafka, broker, "never-made") == []


def test_record_of_the_maximum_size_passes_and_is_counted(kafka: Kafka, broker: str) -> None:
    value = os.urandom(10 * 2**20)
    options = topics.client_options(kafka, broker)
    producer = KafkaProducer(**options, acks="all", max_request_size=topics.RECORD_BYTES)
    sent = producer.send(kafka.topic, key=b"phone", value=value, headers=[("ce_id", b"1")]).get(30)
    producer.close()
    uploads, rejected, verdicts = topics.describe(kafka, broker)
    assert (uploads.name, uploads.offsets[sent.partition]) == (kafka.topic, (0, 1))
    assert uploads.stable[sent.partition] == 1
    assert {*rejected.offsets.values(), *verdicts.offsets.values()} == {(0, 0)}
    counts = backlog.count_records(kafka, broker)
    assert [(each.records, each.exact) for each in counts] == [(1, True), (0, True), (0, True)]

    consumer = KafkaConsumer(**options, max_partition_fetch_bytes=topics.RECORD_BYTES)
    partition = TopicPartition(kafka.topic, sent.partition)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    records = consumer.poll(timeout_ms=20_000)[partition]
    consumer.close()
    assert [record.value == value for record in records] == [True]


def test_the_broker_refuses_a_record_that_exceeds_the_maximum_size_when_decompressed(
    kafka: Kafka, broker: str
) -> None:
    options = topics.client_options(kafka, broker) | {"max_request_size": 1 << 26, "compression_type": "gzip"}
    producer = KafkaProducer(**options)
    try:
        fits = producer.send(kafka.topic, key=b"phone", value=bytes(10 << 20))
        explodes = producer.send(kafka.topic, key=b"phone", value=bytes(30 << 20))
        assert fits.get(30).offset == 0
        with pytest.raises(MessageSizeTooLargeError):
            explodes.get(30)
    finally:
        producer.close()
    assert backlog.count_records(kafka, broker)[0].records == 1


def test_the_timestamp_of_a_record_is_its_arrival_time(kafka: Kafka, broker: str) -> None:
    """Some producer timestamps overflow in Spark and would stop ingestion; others prevent retention."""
    producer = KafkaProducer(**topics.client_options(kafka, broker))
    try:
        before = time.time() * 1000
        sent = [
            producer.send(kafka.topic, key=b"phone", value=b"1", timestamp_ms=stamp, partition=0)
            for stamp in (-(10**16), 0, 253402300800000)
        ]
        for future in sent:
            future.get(30)
        stamps = [record.timestamp for record in received(kafka, kafka.topic)]
        assert len(stamps) == 3
        assert all(before - 1000 <= stamp <= time.time() * 1000 + 1000 for stamp in stamps)
    finally:
        producer.close()


def test_only_missing_settings_of_an_existing_topic_are_changed(
    kafka: Kafka, broker: str, topic: str, capsys: pytest.CaptureFixture[str], settings: Settings
) -> None:
    foreign = kafka.model_copy(update={"topic": f"{topic}-foreign"})
    own = settings.model_copy(update={"kafka": foreign})
    configs = {"max.message.bytes": "5000000", "compression.type": "uncompressed"}
    with topics.admin_client(kafka, broker) as client:
        client.create_topics(
            {foreign.topic: {"num_partitions": 1, "replication_factor": 1, "configs": configs}}
        )
        client.wait_for_topics([foreign.topic])
    assert topics.missing_settings(foreign, broker) == {foreign.topic: ["message.timestamp.type"]}
    ingest.warn_if_unprotected(own, broker)
    assert capsys.readouterr().out == (
        f"Warning: topic {foreign.topic} lacks message.timestamp.type=LogAppendTime, so one hostile record "
        "can stop ingestion: run `hub up`, which sets it.\n"
    )

    assert topics.enforce_settings(foreign, broker) == [foreign.topic]

    assert topics.missing_settings(foreign, broker) == {}
    ingest.warn_if_unprotected(own, broker)
    assert capsys.readouterr().out == ""
    with topics.admin_client(kafka, broker) as client:
        described = client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, foreign.topic)])
    assert described["topic"][foreign.topic]["max.message.bytes"]["value"] == "5000000"
    assert topics.enforce_settings(foreign, broker) == []


def test_address_without_a_broker_is_reported_in_time(settings: Settings) -> None:
    bootstrap = f"127.0.0.1:{_closed_port()}"
    impatient = settings.kafka.model_copy(update={"connect_seconds": 1.0})
    before = time.monotonic()
    with pytest.raises(BrokerUnreachable, match=f"no Kafka broker answers at {bootstrap} within 1 s"):
        topics.describe(impatient, bootstrap)
    assert time.monotonic() - before < 5


def test_listener_that_does_not_answer_is_reported_in_time(settings: Settings) -> None:
    impatient = settings.kafka.model_copy(update={"connect_seconds": 1.0})
    before = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as mute:
        bootstrap = f"127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(BrokerUnreachable, match=bootstrap):
            topics.describe(impatient, bootstrap)
    assert time.monotonic() - before < 5


def test_commands_report_an_unreachable_broker_in_one_line(hub: Hub) -> None:
    away = {"HUB__KAFKA__BOOTSTRAP": f"127.0.0.1:{_closed_port()}", "HUB__KAFKA__CONNECT_SECONDS": "1"}
    done = hub("up", **away)
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert away["HUB__KAFKA__BOOTSTRAP"] in done.stderr
    shown = hub("status", **away)
    assert (shown.status, shown.stderr) == (1, "")
    assert "no Kafka broker answers" in shown.stdout


def test_login_is_passed_to_the_client(settings: Settings) -> None:
    secured = settings.kafka.model_copy(
        update={"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512", "sasl_username": "hub"}
    )
    options = topics.client_options(secured, "a.example:9092, b.example:9092")
    assert options["bootstrap_servers"] == ["a.example:9092", "b.example:9092"]
    assert (options["sasl_mechanism"], options["sasl_plain_username"]) == ("SCRAM-SHA-512", "hub")
    assert "sasl_mechanism" not in topics.client_options(settings.kafka, "a.example:9092")
