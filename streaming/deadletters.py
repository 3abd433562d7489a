"""The query that sends rejected uploads to the dead-letter topic."""

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f

from conf.settings import Kafka
from streaming.verdict import Verdict

# Columns of `uploads` that it reads.
COLUMNS = [
    "verdict", "reason", "detail", "topic", "partition", "offset", "device", "payload", "headers",
]  # fmt: skip


@dataclass(frozen=True)
class DeadLetterFollower:
    """Sends every rejected upload, as it came, to the dead-letter topic, with where and why in its headers.

    Args:
        kafka: settings of the cluster.
        options: of Spark's Kafka sink.
    """

    kafka: Kafka
    options: dict[str, str]

    def write(self, uploads: DataFrame, batch: int) -> None:
        """Send the rejected uploads of one batch; after a crash some may be sent again."""
        (
            uploads.where(f.col("verdict") == Verdict.REJECTED)
            .select(f.col("device").alias("key"), f.col("payload").alias("value"), with_reason())
            .write.format("kafka")
            .options(**self.options)
            .option("topic", self.kafka.rejected_topic)
            .save()
        )


def with_reason() -> Column:
    """The original headers and hub_reason, hub_detail, hub_topic, hub_partition, hub_offset."""
    added = [
        f.struct(f.lit(f"hub_{name}").alias("key"), f.col(name).cast("string").cast("binary").alias("value"))
        for name in ("reason", "detail", "topic", "partition", "offset")
    ]
    return f.concat(f.coalesce("headers", f.array()), f.array(*added)).alias("headers")
