"""What Spark itself takes to bring records from Kafka to a Python function that does nothing with them."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from benchmarks import processes
from benchmarks.ground import emptied, filled
from conf.settings import Settings
from lake.spark.session_properties import properties
from streaming import kafka_source
from streaming.ingestion import tuned

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def counted(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The number of records, and no more: the least that a Python function can do."""
    for batch in batches:
        yield pa.record_batch([pa.array([batch.num_rows], pa.int64())], ["records"])


def microseconds(
    settings: Settings, bootstrap: str, spark: "SparkSession", folder: Path, batches: int
) -> float:
    """CPU time for each record, by the same stream with the same settings as an ingestion's.

    Args:
        settings: with a topic and a lake of its own and the records of a micro-batch.
        folder: of pictures.
        batches: micro-batches; the first is not counted.
    """
    batch = settings.ingest.batch_records
    filled(settings, bootstrap, folder, batch * batches)
    used: list[float] = []
    records: list[int] = []

    def passed(rows: "DataFrame", _: int) -> None:
        found = rows.mapInArrow(counted, "records long").toArrow()
        records.append(sum(found["records"].to_pylist()))
        kinds = processes.cpu_seconds()
        used.append(sum(kinds.values()) - kinds["jvm compiler"])  # which is a part of the JVM's

    with properties(spark, tuned(settings.ingest)):
        query = (
            kafka_source.uploads(spark, settings, bootstrap, "earliest")
            .writeStream.foreachBatch(passed)
            .option("checkpointLocation", settings.lake.at("transport"))
            .trigger(availableNow=True)
            .start()
        )
        query.awaitTermination()
    emptied(settings, bootstrap)
    assert sum(records) == batch * batches, records
    last = batches - 1  # what is left after that are the few that rounding by partitions leaves
    return (used[last] - used[0]) / sum(records[1:batches]) * 1e6
