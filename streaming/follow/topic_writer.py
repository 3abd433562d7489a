"""Writes Kafka records of followers, with short timeouts and a check that the topic exists."""

from pyspark.sql import DataFrame

from conf.sections import Kafka
from streaming import topics
from streaming.errors import IngestFailed
from streaming.kafka_source import spark_options

# A task that waits for Kafka occupies a core that ingestion could use: run one task, with short timeouts.
_TASKS = 1
_TIMEOUTS = {
    "kafka.max.block.ms": 10_000,
    "kafka.request.timeout.ms": 10_000,
    "kafka.delivery.timeout.ms": 30_000,
}


class TopicWriter:
    """Sends micro-batches of records to a topic.

    Args:
        kafka: settings of the cluster.
        bootstrap: of the cluster.
        topic: its name.
    """

    def __init__(self, kafka: Kafka, bootstrap: str, topic: str) -> None:
        self._kafka, self._bootstrap, self._topic = kafka, bootstrap, topic
        self._topic_exists = False

    def write(self, records: DataFrame) -> None:
        """Send records with columns key, value and headers; after a crash some may be sent again.

        Raises:
            IngestFailed: the topic does not exist.
        """
        if not self._topic_exists:
            self._require_topic()
        self._topic_exists = False  # until the records are sent
        (
            records.coalesce(_TASKS)
            .write.format("kafka")
            .options(**spark_options(self._kafka, self._bootstrap), **_TIMEOUTS)
            .option("topic", self._topic)
            .save()
        )
        self._topic_exists = True

    def _require_topic(self) -> None:
        """Check for the topic here, because each Spark task would wait for it until a timeout."""
        if self._topic not in {topic.name for topic in topics.describe(self._kafka, self._bootstrap)}:
            raise IngestFailed(
                f"no topic {self._topic!r} at {self._bootstrap}: run `hub up`, which creates it"
            )
