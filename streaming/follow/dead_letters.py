"""The follower that sends rejected uploads to the dead-letter topic."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f

from streaming.contract.verdict import Verdict
from streaming.follow.follower import FollowerContext, Write
from streaming.follow.topic_writer import TopicWriter
from streaming.topics import RECORD_BYTES

# Columns of `uploads` that this follower reads.
COLUMNS = [
    "verdict", "reason", "detail", "topic", "partition", "offset", "device", "payload", "headers",
]  # fmt: skip

_FRAMING_BYTES = 128  # maximum bytes of a record and its batch without key, value and headers


def writer(context: FollowerContext) -> Write:
    """Make the function that sends each rejected upload, with its position and reason as added headers.

    If an upload has too many headers, those that the ledger keeps are sent.
    """
    kafka = context.settings.kafka
    topic = TopicWriter(kafka, context.bootstrap, kafka.rejected_topic)
    return lambda uploads, batch: topic.write(
        dead_letter_records(uploads.where(f.col("verdict") == Verdict.REJECTED))
    )


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
