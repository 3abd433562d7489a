"""The lag of a running ingestion: committed records and their age, whatever the codec."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from prometheus_client import generate_latest

from conf.sections import Kafka
from streaming import topics
from streaming.backlog import Backlog, PartitionBacklog
from streaming.topics import Topic
from streaming.watch.ingest_report import Lag
from streaming.watch.lag import LagMonitor
from streaming.watch.metrics import IngestMetrics
from tests.support.uploads import open_transaction, send, upload
from tests.support.waiting import wait_until

pytestmark = pytest.mark.services


@contextmanager
def monitored(kafka: Kafka) -> Iterator[tuple[LagMonitor, list[Lag]]]:
    lags = [Lag({}, None)]
    with LagMonitor(kafka, kafka.bootstrap, lags.append) as monitor:
        yield monitor, lags


def described(kafka: Kafka) -> Topic:
    return next(topic for topic in topics.describe(kafka, kafka.bootstrap) if topic.name == kafka.topic)


def test_the_age_grows_while_records_wait_also_after_the_first_commit(kafka: Kafka) -> None:
    send(kafka, [upload(number) for number in range(3)], partition=0)
    send(kafka, [upload(3)], partition=1)
    with monitored(kafka) as (monitor, lags):
        monitor.set_positions({0: -2, 1: -2, 2: -2, 3: -2})
        assert wait_until(lambda: lags[-1].partitions == {0: 3, 1: 1, 2: 0, 3: 0})
        monitor.set_positions({0: 3})  # the first commit
        assert wait_until(lambda: lags[-1].records == 1)
        before = lags[-1].seconds or 0.0
        assert before > 0
        assert wait_until(lambda: (lags[-1].seconds or 0.0) > before + 1)
        monitor.set_positions({1: 1})
        assert wait_until(lambda: lags[-1] == Lag({0: 0, 1: 0, 2: 0, 3: 0}, 0.0))
        send(kafka, [upload(4), upload(5)], partition=1)
        assert wait_until(lambda: lags[-1].records == 2 and (lags[-1].seconds or 0.0) > 0)


@pytest.mark.parametrize("codec", ["zstd", "lz4", "snappy", "gzip"])
def test_a_topic_with_compressed_batches_has_a_lag(kafka: Kafka, topic: str, codec: str) -> None:
    foreign = kafka.model_copy(update={"topic": f"{topic}-{codec}"})
    with topics.admin_client(kafka, kafka.bootstrap) as client:
        configs = {"compression.type": codec, "max.message.bytes": "12582912"}
        wanted = {"num_partitions": 1, "replication_factor": 1, "configs": configs}
        client.create_topics({foreign.topic: wanted})
        client.wait_for_topics([foreign.topic])
    send(foreign, [upload(number) for number in range(20)])
    with monitored(foreign) as (monitor, lags):
        monitor.set_positions({0: 7})  # within a batch
        assert wait_until(lambda: lags[-1].records == 13)
        assert 0 < (lags[-1].seconds or 0.0) < 60
        monitor.set_positions({0: 20})
        assert wait_until(lambda: lags[-1] == Lag({0: 0}, 0.0))


def test_only_committed_records_count(kafka: Kafka) -> None:
    with monitored(kafka) as (monitor, lags):
        monitor.set_positions({0: 0})
        with open_transaction(kafka, [upload(0), upload(1)]) as producer:
            send(kafka, [upload(2)], partition=0)
            assert wait_until(lambda: lags[-1] == Lag({0: 0, 1: 0, 2: 0, 3: 0}, 0.0))
            producer.abort_transaction()
        assert wait_until(lambda: lags[-1].records == 1)
        with open_transaction(kafka, [upload(3), upload(4)]) as producer:
            producer.commit_transaction()
        assert wait_until(lambda: lags[-1].records == 3)
        monitor.set_positions({0: 3})  # the record after the first transaction, whose marker comes last
        assert wait_until(lambda: lags[-1].records == 2)


def test_beyond_its_window_a_backlog_counts_offsets_and_still_knows_the_oldest(kafka: Kafka) -> None:
    for partition in (0, 1):
        for _ in range(3):  # a batch of 1 MiB each
            send(kafka, [upload(0, content=os.urandom(1 << 20))], partition=partition)
        with open_transaction(kafka, [upload(1)], partition=partition) as producer:
            producer.abort_transaction()
    topic, starts = described(kafka), {0: 0, 1: 0}
    with topics.admin_client(kafka, kafka.bootstrap) as client:
        small, large = Backlog(window_bytes=1), Backlog()
        found = small.count(client, topic, starts)
        assert [(each.records, each.exact) for each in found.values()] == [(5, False)] * 2
        assert all(time.time() - (each.oldest or 0) < 60 for each in found.values())
        exact = large.count(client, topic, starts)
        assert [(each.records, each.exact) for each in exact.values()] == [(3, True)] * 2
        assert large.count(client, topic, {0: 2, 1: 5}) == {
            0: PartitionBacklog(1, True, large._scans[0].batches[0].seconds),
            1: PartitionBacklog(0, True, None),
        }
        assert large.count(client, topic, {0: 0})[0].records == 3  # an offset before the last one


def test_an_unknown_age_is_no_number() -> None:
    metrics = IngestMetrics()
    assert b"hub_ingest_lag_seconds NaN" in generate_latest(metrics.registry)
    metrics.set_lag(Lag({0: 2}, None))
    shown = generate_latest(metrics.registry)
    assert b'hub_ingest_lag_records{partition="0"} 2.0' in shown and b"hub_ingest_lag_seconds NaN" in shown
    metrics.set_lag(Lag({0: 2}, 4.5))
    assert b"hub_ingest_lag_seconds 4.5" in generate_latest(metrics.registry)
