"""How Spark reaches a Kafka cluster, and reads uploads from it."""

from pyspark.sql import DataFrame, SparkSession

from conf.sections import Kafka
from conf.settings import Settings
from streaming import topics


def connection(kafka: Kafka, bootstrap: str) -> dict[str, str]:
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
    """As Java's configuration of logins reads it: a StreamTokenizer's string."""
    for plain, escaped in ("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"):
        text = text.replace(plain, escaped)
    return f'"{text}"'


def uploads(spark: SparkSession, settings: Settings, bootstrap: str, offsets: str) -> DataFrame:
    """The stream of a topic's records, with the columns of Spark's Kafka source.

    Args:
        offsets: where a query without a checkpoint starts, as Spark takes it.
    """
    kafka = settings.kafka
    return (
        spark.readStream.format("kafka")
        .options(**connection(kafka, bootstrap))
        .option("subscribe", kafka.topic)
        .option("includeHeaders", True)
        .option("startingOffsets", offsets)
        .option("maxOffsetsPerTrigger", settings.ingest.batch_records)
        # Few devices fill few partitions; split, the fullest does not keep one core busy alone.
        .option("minPartitions", 2 * spark.sparkContext.defaultParallelism)
        # At the end of the topic a fetch waits for more; the next task's would queue behind it for 0.5 s.
        .option("kafka.fetch.max.wait.ms", 10)
        # A fetch of 1 MB, Kafka's default, is nine photographs, and the next waits for a round trip.
        .option("kafka.max.partition.fetch.bytes", 16 << 20)
        .option("kafka.receive.buffer.bytes", 4 << 20)
        # Spark asks the broker twice between two polls; by default those take 500 records, however small.
        .option("kafka.max.poll.records", 5_000)
        .option("failOnDataLoss", True)
        .load()
    )
