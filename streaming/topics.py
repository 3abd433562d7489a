"""The hub's topics: made, described, and how clients connect to their cluster."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    TopicAlreadyExistsError,
    for_code,
)
from kafka.net.compat import KafkaNetClient

from conf.sections import Kafka
from streaming.errors import BrokerUnreachable, StreamingError

# Ceiling of a record: 10 MiB of picture and 2 MiB of headers and framing.
RECORD_BYTES = 12_582_912

# What keeps one record of a stranger from stopping everything behind it. The broker holds what is packed to
# `max.message.bytes` only where it unpacks it: 2 MB of gzip can be 2 GB in Spark. And a producer's own time
# may be one that Spark cannot read, or lie so far ahead that retention never removes the record.
GUARDS = {"compression.type": "uncompressed", "message.timestamp.type": "LogAppendTime"}


@dataclass(frozen=True)
class Topic:
    """A topic's partitions with their first and next offsets.

    Args:
        name: of the topic.
        offsets: partition to (begin, end); `end` is the offset of the next record.
        id: that a topic made later under this name does not have; empty where the cluster gives none.
    """

    name: str
    offsets: dict[int, tuple[int, int]]
    id: str = ""

    @property
    def records(self) -> int:
        """Records that the topic holds, those that retention removed not counted."""
        return sum(end - begin for begin, end in self.offsets.values())


def connection(kafka: Kafka, bootstrap: str) -> dict[str, Any]:
    """Options of kafka-python's producer, consumer and admin client.

    Args:
        kafka: settings of the cluster.
        bootstrap: host:port[,host:port].
    """
    milliseconds = round(kafka.connect_seconds * 1000)
    options: dict[str, Any] = {
        "bootstrap_servers": [address.strip() for address in bootstrap.split(",")],
        "client_id": "hub",
        "bootstrap_timeout_ms": milliseconds,
        "request_timeout_ms": milliseconds,
        "reconnect_backoff_max_ms": 1000,
        "security_protocol": kafka.security_protocol,
    }
    if kafka.security_protocol.startswith("SASL"):
        options |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.sasl_username,
            "sasl_plain_password": kafka.sasl_password,
        }
    return options


def create(kafka: Kafka, bootstrap: str) -> list[str]:
    """Make the topics for uploads and dead letters where they are missing.

    Returns:
        the topics that were made.

    Raises:
        BrokerUnreachable: no broker answers at the address.
        StreamingError: the cluster refuses.
    """
    wanted = {
        name: {
            "num_partitions": kafka.partitions,
            "replication_factor": kafka.replication,
            "configs": {
                "max.message.bytes": str(RECORD_BYTES),
                "retention.ms": str(kafka.retention_hours * 3_600_000),
            }
            | GUARDS,
        }
        for name in (kafka.topic, kafka.rejected_topic)
    }
    with admin(kafka, bootstrap) as client:
        answer = client.create_topics(wanted, raise_errors=False)
        made = []
        for topic in answer["topics"]:
            error = for_code(topic["error_code"])
            if topic["error_code"] == 0:
                made.append(topic["name"])
            elif error is not TopicAlreadyExistsError:
                why = topic.get("error_message") or error.__name__
                raise StreamingError(f"cannot make topic {topic['name']} at {bootstrap}: {why}")
        client.wait_for_topics(list(wanted))
    return made


def partitions(kafka: Kafka, bootstrap: str, topic: str) -> list[int]:
    """Partitions of a topic, ascending; none where it does not exist.

    Raises:
        BrokerUnreachable: no broker answers at the address.
    """
    with admin(kafka, bootstrap) as client:
        return _partitions(client, [topic]).get(topic, [])


def describe(kafka: Kafka, bootstrap: str) -> list[Topic]:
    """Those of the hub's topics that exist, with their offsets.

    Raises:
        BrokerUnreachable: no broker answers at the address.
    """
    with admin(kafka, bootstrap) as client:
        wanted = [kafka.topic, kafka.rejected_topic]
        found, ids = _partitions(client, wanted), _ids(client, wanted)
        begins = _offsets(client, found, OffsetSpec.EARLIEST)
        ends = _offsets(client, found, OffsetSpec.LATEST)
    return [
        Topic(name, {p: (begins[name, p], ends[name, p]) for p in numbers}, ids.get(name, ""))
        for name, numbers in found.items()
    ]


def retention_hours(kafka: Kafka, bootstrap: str) -> dict[str, float]:
    """How long the hub's topics keep records (hours, below 0 for ever), of those that exist.

    Raises:
        BrokerUnreachable: no broker answers at the address.
    """
    with admin(kafka, bootstrap) as client:
        configs = _configs(client, [kafka.topic, kafka.rejected_topic], "retention.ms")
    return {name: float(config["retention.ms"]) / 3_600_000 for name, config in configs.items()}


def unguarded(kafka: Kafka, bootstrap: str) -> dict[str, list[str]]:
    """Those of the hub's topics that lack some of `GUARDS`, and which.

    Raises:
        BrokerUnreachable: no broker answers at the address.
    """
    with admin(kafka, bootstrap) as client:
        return _unguarded(client, kafka)


def guard(kafka: Kafka, bootstrap: str) -> list[str]:
    """Give the hub's topics the `GUARDS` they lack; nothing else of them is changed.

    Returns:
        the topics that were changed.

    Raises:
        BrokerUnreachable: no broker answers at the address.
        StreamingError: the cluster refuses.
    """
    with admin(kafka, bootstrap) as client:
        lacking = _unguarded(client, kafka)
        if lacking:
            client.alter_configs(
                [
                    ConfigResource(ConfigResourceType.TOPIC, name, {key: GUARDS[key] for key in keys})
                    for name, keys in lacking.items()
                ]
            )
    return list(lacking)


@contextmanager
def admin(kafka: Kafka, bootstrap: str) -> Iterator[KafkaAdminClient]:
    """A connected admin client.

    Raises:
        BrokerUnreachable: no broker answers within `kafka.connect_seconds`, or stops answering.
        StreamingError: the cluster refuses what is asked.
    """
    clients: list[KafkaNetClient] = []

    def remembered(**options: Any) -> KafkaNetClient:
        clients.append(KafkaNetClient(**options))
        return clients[-1]

    logger = logging.getLogger("kafka")
    level = logger.level
    if not logging.getLogger().isEnabledFor(logging.DEBUG):
        logger.setLevel(logging.CRITICAL)  # each attempt would be a line; the error below says it once
    try:
        yield KafkaAdminClient(**connection(kafka, bootstrap), kafka_client=remembered)
    except (KafkaTimeoutError, KafkaConnectionError, NodeNotReadyError) as error:
        login = (
            f" or it refuses {kafka.sasl_username!r}" if kafka.security_protocol.startswith("SASL") else ""
        )
        raise BrokerUnreachable(
            f"no Kafka broker answers at {bootstrap} within {kafka.connect_seconds:g} s{login}: "
            "run `hub up` for the embedded one, or set HUB__KAFKA__BOOTSTRAP to one that runs"
        ) from error
    except KafkaError as error:
        raise StreamingError(f"the Kafka cluster at {bootstrap} refuses: {error}") from error
    finally:
        for client in clients:  # a constructor that failed leaves its thread behind
            client.close()
        logger.setLevel(level)


def _partitions(client: KafkaAdminClient, topics: list[str]) -> dict[str, list[int]]:
    described = client.describe_topics(topics)
    return {
        topic["name"]: sorted(partition["partition_index"] for partition in topic["partitions"])
        for topic in described
        if topic["error_code"] == 0
    }


def _unguarded(client: KafkaAdminClient, kafka: Kafka) -> dict[str, list[str]]:
    found = _configs(client, [kafka.topic, kafka.rejected_topic], *GUARDS)
    lacking = {name: [key for key in GUARDS if config[key] != GUARDS[key]] for name, config in found.items()}
    return {name: keys for name, keys in lacking.items() if keys}


def _configs(client: KafkaAdminClient, topics: list[str], *keys: str) -> dict[str, dict[str, str]]:
    """Settings of those topics that exist."""
    names = list(_partitions(client, topics))
    wanted = [ConfigResource(ConfigResourceType.TOPIC, name, dict.fromkeys(keys)) for name in names]
    found = client.describe_configs(wanted, config_filter="all") if wanted else {}
    configs: dict[str, Any] = next(iter(found.values()), {})
    return {name: {key: configs[name][key]["value"] for key in keys} for name in names}


def _ids(client: KafkaAdminClient, topics: list[str]) -> dict[str, str]:
    described = client.describe_topics(topics)
    return {
        topic["name"]: str(topic.get("topic_id") or "") for topic in described if topic["error_code"] == 0
    }


def _offsets(
    client: KafkaAdminClient, topics: dict[str, list[int]], which: OffsetSpec
) -> dict[tuple[str, int], int]:
    wanted = {TopicPartition(name, number): which for name, numbers in topics.items() for number in numbers}
    found = client.list_partition_offsets(wanted) if wanted else {}
    return {(at.topic, at.partition): value.offset for at, value in found.items()}
