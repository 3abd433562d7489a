"""Spark's Kafka source: connection options, and the stream of uploads."""

from pyspark.sql import DataFrame, SparkSession

from conf.sections import Kafka
from conf.settings import Settings
from streaming import topics


def spark_options(kafka: Kafka, bootstrap: str) -> dict[str, str]:
    """Options of Spark's Kafka source and sink for a cluster."""
    options = {"kafka.bootstrap.servers": bootstrap, "kafka.security.protocol": kafka.security_protocol}
    if kafka.security_protocol.startswith("SASL"):
        module = "plain.PlainLoginModule" if kafka.sasl_mechanism == "PLAIN" else "scram.ScramLoginModule"
        options["kafka.sasl.mechanism"] = kafka.sasl_mechanism
        options["kafka.sasl.jaas.config"] = (
            f"org.apache.kafka.common.security.{module} required "
            f"username={_quoted(kafka.sasl_username)} password={_quoted(kafka.sasl_password)};"
        )
    return options | {"kafka.max.request.size": str(topics.RECORD_BYTES)}


def _quoted(text: str) -> str:
    """Quote a value for a JAAS configuration, which Java parses with StreamTokenizer."""
    for plain, escaped in ("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"):
        text = text.replace(plain, escaped)
    return f'"{text}"'


def uploads(spark: SparkSession, settings: Settings, bootstrap: str, offsets: str) -> DataFrame:
    """The topic's records as a stream, with the columns of Spark's Kafka source.

    Args:
        offsets: where a query without a checkpoint starts: Spark's `startingOffsets`.
    """
    kafka = settings.kafka
    return (
        spark.readStream.format("kafka")
        .options(**spark_options(kafka, bootstrap))
        .option("subscribe", kafka.topic)
        .option("includeHeaders", True)
        .option("startingOffsets", offsets)
        # A producer may give a transaction up: its records are no uploads.
        .option("kafka.isolation.level", "read_committed")
        .option("maxOffsetsPerTrigger", settings.ingest.batch_records)
        # Few devices fill few partitions. Splitting the fullest one lets all cores work on it.
        .option("minPartitions", 2 * spark.sparkContext.defaultParallelism)
        # At the topic's end a fetch waits for more records: by default it blocks the next task for 0.5 s.
        .option("kafka.fetch.max.wait.ms", 10)
        # Kafka's default of 1 MB is only nine photographs for each round trip.
        .option("kafka.max.partition.fetch.bytes", 16 << 20)
        .option("kafka.receive.buffer.bytes", 4 << 20)
        # Spark makes two requests to the broker per poll; by default a poll returns only 500 records.
        .option("kafka.max.poll.records", 5_000)
        .option("failOnDataLoss", True)
        .load()
    )
