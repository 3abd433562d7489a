"""The hub's Kafka topics: creates, describes and configures them; client options for their cluster.

Functions that take the cluster's address raise BrokerUnreachable if no broker answers there.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kafka import IsolationLevel, KafkaAdminClient, TopicPartition
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

# Maximum size of a record: 10 MiB of picture and 2 MiB of headers and framing.
RECORD_BYTES = 12_582_912

# Without these, one hostile record can stop ingestion. The broker applies `max.message.bytes` to compressed
# bytes unless it has to decompress them: 2 MB of gzip can be 2 GB in Spark. And a producer's timestamp can be
# one that Spark cannot read, or so far in the future that retention never deletes the record.
REQUIRED_CONFIG = {"compression.type": "uncompressed", "message.timestamp.type": "LogAppendTime"}


@dataclass(frozen=True)
class Topic:
    """A topic's partitions with their first and next offsets; `streaming.backlog` counts its records.

    Args:
        name: of the topic.
        offsets: partition to (begin, end); `end` is the offset of the next record.
        stable: partition to the first offset of its oldest open transaction; without one, to its end.
        leaders: partition to the node id of its leader.
        id: changes when the topic is created again; empty if the cluster has no topic ids.
    """

    name: str
    offsets: dict[int, tuple[int, int]]
    stable: dict[int, int]
    leaders: dict[int, int]
    id: str = ""


def client_options(kafka: Kafka, bootstrap: str) -> dict[str, Any]:
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


def names(kafka: Kafka) -> list[str]:
    """Names of the hub's topics: uploads, dead letters, verdicts."""
    return [kafka.topic, kafka.rejected_topic, kafka.verdicts_topic]


def create(kafka: Kafka, bootstrap: str) -> list[str]:
    """Create those of the hub's topics that are missing.

    Returns:
        names of the topics that were created.

    Raises:
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
            | REQUIRED_CONFIG,
        }
        for name in names(kafka)
    }
    with admin_client(kafka, bootstrap) as client:
        response = client.create_topics(wanted, raise_errors=False)
        created = []
        for topic in response["topics"]:
            if topic["error_code"] == 0:
                created.append(topic["name"])
            elif (error := for_code(topic["error_code"])) is not TopicAlreadyExistsError:
                why = topic.get("error_message") or error.__name__
                raise StreamingError(f"cannot create topic {topic['name']} at {bootstrap}: {why}")
        client.wait_for_topics(list(wanted))
    return created


def partitions(kafka: Kafka, bootstrap: str, topic: str) -> list[int]:
    """Partitions of a topic, ascending; empty if the topic does not exist."""
    with admin_client(kafka, bootstrap) as client:
        return [number for found in _existing(client, [topic]).values() for number in _leaders(found)]


def describe(kafka: Kafka, bootstrap: str) -> list[Topic]:
    """Describe those of the hub's topics that exist, with their offsets."""
    with admin_client(kafka, bootstrap) as client:
        return describe_with(client, names(kafka))


def describe_with(client: KafkaAdminClient, names: list[str]) -> list[Topic]:
    """Like `describe`, with a client that is connected; raises KafkaError."""
    found = _existing(client, names)
    begins = _offsets(client, found, OffsetSpec.EARLIEST)
    # Before the end, so that it is never larger than the end.
    stable = _offsets(client, found, OffsetSpec.LATEST, IsolationLevel.READ_COMMITTED)
    ends = _offsets(client, found, OffsetSpec.LATEST)
    return [
        Topic(
            name,
            {p: (begins[name, p], ends[name, p]) for p in _leaders(topic)},
            {p: stable[name, p] for p in _leaders(topic)},
            _leaders(topic),
            str(topic.get("topic_id") or ""),
        )
        for name, topic in found.items()
    ]


def retention_hours(kafka: Kafka, bootstrap: str) -> dict[str, float]:
    """Retention in hours of those of the hub's topics that exist; negative for no limit."""
    with admin_client(kafka, bootstrap) as client:
        configs = _configs(client, names(kafka), "retention.ms")
    return {name: float(config["retention.ms"]) / 3_600_000 for name, config in configs.items()}


def missing_settings(kafka: Kafka, bootstrap: str) -> dict[str, list[str]]:
    """Those of the hub's topics that lack some of `REQUIRED_CONFIG`, each with the missing keys."""
    with admin_client(kafka, bootstrap) as client:
        return _missing_settings(client, kafka)


def enforce_settings(kafka: Kafka, bootstrap: str) -> list[str]:
    """Set the `REQUIRED_CONFIG` that the hub's topics lack; other settings stay unchanged.

    Returns:
        names of the topics that were changed.

    Raises:
        StreamingError: the cluster refuses.
    """
    with admin_client(kafka, bootstrap) as client:
        missing = _missing_settings(client, kafka)
        configs = {name: {key: REQUIRED_CONFIG[key] for key in keys} for name, keys in missing.items()}
        if configs:
            client.alter_configs(
                [ConfigResource(ConfigResourceType.TOPIC, *item) for item in configs.items()]
            )
    return list(missing)


@contextmanager
def admin_client(kafka: Kafka, bootstrap: str) -> Iterator[KafkaAdminClient]:
    """A connected admin client.

    Raises:
        BrokerUnreachable: no broker answers within `kafka.connect_seconds`, or stops answering.
        StreamingError: the cluster refuses a request.
    """
    clients: list[KafkaNetClient] = []

    def make_client(**options: Any) -> KafkaNetClient:
        clients.append(KafkaNetClient(**options))
        return clients[-1]

    logger = logging.getLogger("kafka")
    level = logger.level
    if not logging.getLogger().isEnabledFor(logging.DEBUG):
        logger.setLevel(logging.CRITICAL)  # else each attempt to connect would log a line
    try:
        yield KafkaAdminClient(**client_options(kafka, bootstrap), kafka_client=make_client)
    except (KafkaTimeoutError, KafkaConnectionError, NodeNotReadyError) as error:
        uses_login = kafka.security_protocol.startswith("SASL")
        login = f" or it refuses {kafka.sasl_username!r}" if uses_login else ""
        raise BrokerUnreachable(
            f"no Kafka broker answers at {bootstrap} within {kafka.connect_seconds:g} s{login}: "
            "run `hub up` for the embedded one, or set HUB__KAFKA__BOOTSTRAP to one that runs"
        ) from error
    except KafkaError as error:
        raise StreamingError(f"the Kafka cluster at {bootstrap} refuses: {error}") from error
    finally:
        for client in clients:  # a failed constructor of KafkaAdminClient leaves the client's thread running
            client.close()
        logger.setLevel(level)


def _existing(client: KafkaAdminClient, names: list[str]) -> dict[str, dict[str, Any]]:
    return {topic["name"]: topic for topic in client.describe_topics(names) if topic["error_code"] == 0}


def _leaders(topic: dict[str, Any]) -> dict[int, int]:
    """Partition to its leader's node id, ascending."""
    return dict(sorted((each["partition_index"], each["leader_id"]) for each in topic["partitions"]))


def _missing_settings(client: KafkaAdminClient, kafka: Kafka) -> dict[str, list[str]]:
    configs = _configs(client, names(kafka), *REQUIRED_CONFIG)
    required = REQUIRED_CONFIG.items()
    missing = {name: [key for key, value in required if at[key] != value] for name, at in configs.items()}
    return {name: keys for name, keys in missing.items() if keys}


def _configs(client: KafkaAdminClient, topics: list[str], *keys: str) -> dict[str, dict[str, str]]:
    """Settings of those topics that exist."""
    names = list(_existing(client, topics))
    resources = [ConfigResource(ConfigResourceType.TOPIC, name, dict.fromkeys(keys)) for name in names]
    described = client.describe_configs(resources, config_filter="all") if resources else {}
    configs: dict[str, Any] = next(iter(described.values()), {})
    return {name: {key: configs[name][key]["value"] for key in keys} for name in names}


def _offsets(
    client: KafkaAdminClient,
    topics: dict[str, dict[str, Any]],
    spec: OffsetSpec,
    isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
) -> dict[tuple[str, int], int]:
    specs = {TopicPartition(name, p): spec for name, topic in topics.items() for p in _leaders(topic)}
    offsets = client.list_partition_offsets(specs, isolation_level=isolation) if specs else {}
    return {(at.topic, at.partition): value.offset for at, value in offsets.items()}
