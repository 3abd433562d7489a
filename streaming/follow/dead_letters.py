"""The query that sends rejected uploads to the dead-letter topic."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f

from conf.sections import Kafka
from streaming import topics
from streaming.contract.verdict import Verdict
from streaming.errors import IngestFailed
from streaming.kafka_source import connection
from streaming.topics import RECORD_BYTES

# Columns of `uploads` that it reads.
COLUMNS = [
    "verdict", "reason", "detail", "topic", "partition", "offset", "device", "payload", "headers",
]  # fmt: skip


# A task that waits for Kafka holds a core that the ledger could use: one of them, and not for long.
_TASKS = 1
_FRAME = 128  # bytes of a record and its batch beside key, value and headers, at most
_PATIENCE = {
    "kafka.max.block.ms": 10_000,
    "kafka.request.timeout.ms": 10_000,
    "kafka.delivery.timeout.ms": 30_000,
}


class DeadLetterFollower:
    """Sends every rejected upload, as it came, to the dead-letter topic, with where and why in its headers.

    Of too many headers it sends what the ledger keeps.

    Args:
        kafka: settings of the cluster.
        bootstrap: of the cluster.
    """

    def __init__(self, kafka: Kafka, bootstrap: str) -> None:
        self._kafka, self._bootstrap = kafka, bootstrap
        self._is_there = False

    def write(self, uploads: DataFrame, batch: int) -> None:
        """Send the rejected uploads of one batch; after a crash some may be sent again.

        Raises:
            IngestFailed: the topic is not there.
        """
        if not self._is_there:
            self._refuse_without_topic()
        self._is_there = False  # until it has gone well
        (
            letters(uploads.where(f.col("verdict") == Verdict.REJECTED))
            .coalesce(_TASKS)
            .write.format("kafka")
            .options(**connection(self._kafka, self._bootstrap), **_PATIENCE)
            .option("topic", self._kafka.rejected_topic)
            .save()
        )
        self._is_there = True

    def _refuse_without_topic(self) -> None:
        """Spark's tasks would wait for it one after the other."""
        name = self._kafka.rejected_topic
        if name not in {topic.name for topic in topics.describe(self._kafka, self._bootstrap)}:
            raise IngestFailed(f"no topic {name!r} at {self._bootstrap}: run `hub up`, which makes it")


def letters(rejected: DataFrame) -> DataFrame:
    """Records of rejected uploads: key, value and headers as the ledger keeps them, and where and why.

    Added headers: hub_reason, hub_detail, hub_topic, hub_partition, hub_offset. What would be larger with
    them than a topic takes goes without its value, and where that is not enough without its own headers; then
    hub_left_out names them, and `hub rejects --save` has the value.
    """
    headers = f.coalesce("headers", f.array())
    marks = [
        _header(f"hub_{name}", f.col(name)) for name in ("reason", "detail", "topic", "partition", "offset")
    ]
    headed = (
        f.lit(_FRAME).cast("long")
        + f.coalesce(f.octet_length("device"), f.lit(0))
        + _size(f.array(*marks))
        + _size(headers)
    )
    fits = headed + f.coalesce(f.octet_length("payload"), f.lit(0)) <= RECORD_BYTES
    left_out = _header("hub_left_out", f.when(headed <= RECORD_BYTES, "value").otherwise("value, headers"))
    return rejected.select(
        f.col("device").alias("key"),
        f.when(fits, f.col("payload")).alias("value"),
        f.concat(
            f.when(headed <= RECORD_BYTES, headers).otherwise(f.array()),
            f.array(*marks),
            f.when(fits, f.array()).otherwise(f.array(left_out)),
        ).alias("headers"),
    )


def _header(name: str, value: Column) -> Column:
    return f.struct(f.lit(name).alias("key"), value.cast("string").cast("binary").alias("value"))


def _size(headers: Column) -> Column:
    """Bytes that headers take in a record at most: beside each two lengths of up to 5 bytes."""

    def longer(size: Column, header: Column) -> Column:
        return (
            size + f.octet_length(header["key"]) + f.coalesce(f.octet_length(header["value"]), f.lit(0)) + 10
        )

    return f.aggregate(headers, f.lit(0).cast("long"), longer)
