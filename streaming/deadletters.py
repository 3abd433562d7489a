"""The query that sends rejected uploads to the dead-letter topic."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f

from conf.sections import Kafka
from streaming import topics
from streaming.connection import connection
from streaming.errors import IngestFailed
from streaming.verdict import Verdict

# Columns of `uploads` that it reads.
COLUMNS = [
    "verdict", "reason", "detail", "topic", "partition", "offset", "device", "payload", "headers",
]  # fmt: skip


# A task that waits for Kafka holds a core that the ledger could use: one of them, and not for long.
_TASKS = 1
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
            uploads.where(f.col("verdict") == Verdict.REJECTED)
            .select(f.col("device").alias("key"), f.col("payload").alias("value"), with_reason())
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


def with_reason() -> Column:
    """The headers that were kept and hub_reason, hub_detail, hub_topic, hub_partition, hub_offset."""
    added = [
        f.struct(f.lit(f"hub_{name}").alias("key"), f.col(name).cast("string").cast("binary").alias("value"))
        for name in ("reason", "detail", "topic", "partition", "offset")
    ]
    return f.concat(f.coalesce("headers", f.array()), f.array(*added)).alias("headers")
