"""Cost of Spark alone: records from Kafka to a Python function that only counts them."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from benchmarks import processes
from benchmarks.ground import delete_topic, fill_topic
from conf.settings import Settings
from lake.spark.session_properties import temporary_properties
from streaming import kafka_source
from streaming.ingestion import session_overrides

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def count_records(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The number of records of each Arrow batch; the minimum that a Python function can do."""
    for batch in batches:
        yield pa.record_batch([pa.array([batch.num_rows], pa.int64())], ["records"])


def cpu_microseconds(
    settings: Settings, bootstrap: str, spark: "SparkSession", folder: Path, batches: int
) -> float:
    """CPU time per record of a stream with the source and settings of an ingestion.

    Args:
        settings: with their own topic and lake, and the number of records per micro-batch.
        folder: of pictures.
        batches: micro-batches; the first is not counted.
    """
    batch = settings.ingest.batch_records
    fill_topic(settings, bootstrap, folder, batch * batches)
    used: list[float] = []
    records: list[int] = []

    def consume(rows: "DataFrame", _: int) -> None:
        counts = rows.mapInArrow(count_records, "records long").toArrow()
        records.append(sum(counts["records"].to_pylist()))
        kinds = processes.cpu_seconds()
        used.append(sum(kinds.values()) - kinds["jvm compiler"])  # it is included in the JVM's

    with temporary_properties(spark, session_overrides(settings.ingest)):
        query = (
            kafka_source.uploads(spark, settings, bootstrap, "earliest")
            .writeStream.foreachBatch(consume)
            .option("checkpointLocation", settings.lake.at("transport"))
            .trigger(availableNow=True)
            .start()
        )
        query.awaitTermination()
    delete_topic(settings, bootstrap)
    assert sum(records) == batch * batches, records
    last = batches - 1  # a later micro-batch has only the few records left over by rounding per partition
    return (used[last] - used[0]) / sum(records[1:batches]) * 1e6
