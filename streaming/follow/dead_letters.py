"""The follower that sends rejected uploads to the dead-letter topic."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f

from conf.sections import Kafka
from streaming import topics
from streaming.contract.verdict import Verdict
from streaming.errors import IngestFailed
from streaming.follow.follower import FollowerContext, Write
from streaming.kafka_source import spark_options
from streaming.topics import RECORD_BYTES

# Columns of `uploads` that this follower reads.
COLUMNS = [
    "verdict", "reason", "detail", "topic", "partition", "offset", "device", "payload", "headers",
]  # fmt: skip

# A task that waits for Kafka occupies a core that ingestion could use: run one task, with short timeouts.
_TASKS = 1
_FRAMING_BYTES = 128  # maximum bytes of a record and its batch without key, value and headers
_TIMEOUTS = {
    "kafka.max.block.ms": 10_000,
    "kafka.request.timeout.ms": 10_000,
    "kafka.delivery.timeout.ms": 30_000,
}


def writer(context: FollowerContext) -> Write:
    """Make the function that writes each micro-batch."""
    return DeadLetterFollower(context.settings.kafka, context.bootstrap).write


class DeadLetterFollower:
    """Sends every rejected upload to the dead-letter topic, with its position and reason as added headers.

    If an upload has too many headers, those that the ledger keeps are sent.

    Args:
        kafka: settings of the cluster.
        bootstrap: of the cluster.
    """

    def __init__(self, kafka: Kafka, bootstrap: str) -> None:
        self._kafka, self._bootstrap = kafka, bootstrap
        self._topic_exists = False

    def write(self, uploads: DataFrame, batch: int) -> None:
        """Send the rejected uploads of one micro-batch; after a crash some may be sent again.

        Raises:
            IngestFailed: the topic does not exist.
        """
        if not self._topic_exists:
            self._require_topic()
        self._topic_exists = False  # until the records are sent
        (
            dead_letter_records(uploads.where(f.col("verdict") == Verdict.REJECTED))
            .coalesce(_TASKS)
            .write.format("kafka")
            .options(**spark_options(self._kafka, self._bootstrap), **_TIMEOUTS)
            .option("topic", self._kafka.rejected_topic)
            .save()
        )
        self._topic_exists = True

    def _require_topic(self) -> None:
        """Check for the topic here, because each Spark task would wait for it until a timeout."""
        name = self._kafka.rejected_topic
        if name not in {topic.name for topic in topics.describe(self._kafka, self._bootstrap)}:
            raise IngestFailed(f"no topic {name!r} at {self._bootstrap}: run `hub up`, which creates it")


def dead_letter_records(rejected: DataFrame) -> DataFrame:
    """Kafka records of rejected uploads: the key, value and headers in the ledger, and added headers.

    Added headers: hub_reason, hub_detail, hub_topic, hub_partition, hub_offset. A record that would exceed
    the maximum size is sent without its value and, if it is still too large, without its own headers. Then
    hub_left_out names these parts; `hub rejects --save` gives the value.
    """
    headers = f.coalesce("headers", f.array())
    added = [
        _header(f"hub_{name}", f.col(name)) for name in ("reason", "detail", "topic", "partition", "offset")
    ]
    size_without_value = (
        f.lit(_FRAMING_BYTES).cast("long")
        + f.coalesce(f.octet_length("device"), f.lit(0))
        + _size(f.array(*added))
        + _size(headers)
    )
    headers_fit = size_without_value <= RECORD_BYTES
    fits = size_without_value + f.coalesce(f.octet_length("payload"), f.lit(0)) <= RECORD_BYTES
    left_out = _header("hub_left_out", f.when(headers_fit, "value").otherwise("value, headers"))
    return rejected.select(
        f.col("device").alias("key"),
        f.when(fits, f.col("payload")).alias("value"),
        f.concat(
            f.when(headers_fit, headers).otherwise(f.array()),
            f.array(*added),
            f.when(fits, f.array()).otherwise(f.array(left_out)),
        ).alias("headers"),
    )


def _header(name: str, value: Column) -> Column:
    return f.struct(f.lit(name).alias("key"), value.cast("string").cast("binary").alias("value"))


def _size(headers: Column) -> Column:
    """Maximum bytes of headers in a record, with two lengths of up to 5 bytes for each header."""

    def add_header(size: Column, header: Column) -> Column:
        return (
            size + f.octet_length(header["key"]) + f.coalesce(f.octet_length(header["value"]), f.lit(0)) + 10
        )

    return f.aggregate(headers, f.lit(0).cast("long"), add_header)
