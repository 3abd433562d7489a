"""The follower that sends the verdict on each upload to the topic of verdicts."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as f

from streaming.contract import verdict_record
from streaming.contract.verdict import Verdict
from streaming.follow.follower import FollowerContext, Write
from streaming.follow.topic_writer import TopicWriter

# Columns of `uploads` that this follower reads. No pixels, no metrics, no headers.
COLUMNS = [*verdict_record.FIELDS]

_TIME_FORMAT = "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX"


def writer(context: FollowerContext) -> Write:
    """Make the function that writes each micro-batch."""
    kafka = context.settings.kafka
    topic = TopicWriter(kafka, context.bootstrap, kafka.verdicts_topic)
    # An erased row tells nothing: neither whose upload it was nor what became of it.
    return lambda uploads, batch: topic.write(
        verdict_records(uploads.where(f.col("verdict") != Verdict.ERASED))
    )


def verdict_records(uploads: DataFrame) -> DataFrame:
    """Kafka records of verdicts, as `streaming.contract.verdict_record` defines them.

    A micro-batch that comes again after a crash gives the same records, with the same `ce_id`.
    """
    position = f.concat_ws("/", "topic", "partition", "offset")
    headers = {
        "content-type": f.lit("application/json"),
        "ce_specversion": f.lit(verdict_record.SPEC_VERSION),
        "ce_id": position,
        "ce_source": f.concat(f.lit("/topics/"), f.col("topic")),
        "ce_type": f.lit(verdict_record.TYPE),
        "ce_time": f.date_format("ingest_time", _TIME_FORMAT),
    }
    value = f.to_json(
        f.struct(*COLUMNS), {"ignoreNullFields": "false", "timestampFormat": _TIME_FORMAT, "timeZone": "UTC"}
    )
    return uploads.select(
        f.col("device").cast("binary").alias("key"),
        value.cast("binary").alias("value"),
        f.array(
            *(
                f.struct(f.lit(name).alias("key"), text.cast("binary").alias("value"))
                for name, text in headers.items()
            )
        ).alias("headers"),
    )
