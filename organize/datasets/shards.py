"""Shards of a dataset snapshot: assigning samples to them, and writing each in one Spark task."""

import hashlib
import io
from collections.abc import Callable, Iterator
from itertools import accumulate

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as f
from pyspark.sql.pandas.types import from_arrow_schema

from lake.snapshot import SHARD_SCHEMA, Shard, Split
from lake.storage import Storage

_BROADCAST_ROWS = 200_000  # of an assignment that is sent to every task, so that pictures are shuffled once

_SHARD_SCHEMA = pa.schema(
    [("split", pa.string()), ("path", pa.string()), ("rows", pa.int32()), ("sha256", pa.string())]
)


def assign_shards(samples: DataFrame, seed: int, shard_rows: int) -> DataFrame:
    """Shuffle each split and divide it into shards whose row counts differ by at most one.

    Args:
        samples: with image_id and split.
        seed: of the shuffle.
        shard_rows: approximate rows per shard; the last shard is not a small remainder.

    Returns:
        the samples with `shard` and `position` (both from 0).
    """
    shuffled = Window.partitionBy("split").orderBy(f.sha2(f.concat(f.lit(f"{seed}:"), "image_id"), 256))
    rows = f.count("*").over(Window.partitionBy("split"))
    shards = f.greatest(f.lit(1), f.round(rows / shard_rows))
    return samples.withColumn("position", f.row_number().over(shuffled) - 1).withColumn(
        "shard", f.floor(f.col("position") * shards / rows).cast("int")
    )


def digest(samples: DataFrame) -> str:
    """Hash (hex) of image ids and labels with their split, shard and position."""
    line = f.concat_ws(",", f.lpad("position", 12, "0"), "image_id", "label")
    hashes = samples.groupBy("split", "shard").agg(_hash_of_lines(line).alias("hash"))
    lines = sorted(f"{row.split}/{row.shard}/{row.hash}" for row in hashes.collect())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def write(
    assignment: DataFrame, pictures: DataFrame, storage: Storage, row_group_rows: int
) -> dict[Split, tuple[Shard, ...]]:
    """Write one Parquet file per split and shard.

    Each shard is a partition, so the JVM neither sorts the pictures nor groups them: the task that writes a
    shard has all of it in memory anyway.

    Args:
        assignment: with split, shard, position, image_id, upload_id and label (the index).
        pictures: with image_id, upload_id and jpeg.
        storage: of the snapshot's folder.
        row_group_rows: rows per Parquet row group, which a reader fetches at once.

    Raises:
        PySparkException: a task could not write its file.
    """
    sizes = sorted(_sizes(assignment).collect())
    first = accumulate((size.shards for size in sizes), initial=0)
    numbers = [
        f.lit(part) for size, number in zip(sizes, first, strict=False) for part in (size.split, number)
    ]
    number = f.create_map(*numbers)[f.col("split")] + f.col("shard")
    small = sum(size.rows for size in sizes) <= _BROADCAST_ROWS
    columns = ["split", "shard", "position", *SHARD_SCHEMA.names]
    # Sorted here: to sort in Spark would first run all tasks for a sample of their results.
    written = sorted(
        pictures.join(f.broadcast(assignment) if small else assignment, ["image_id", "upload_id"])
        .select(*columns, number.cast("int").alias("number"))
        .repartitionById(sum(size.shards for size in sizes), "number")
        .select(*columns)
        .mapInArrow(_shard_writer(storage, row_group_rows), from_arrow_schema(_SHARD_SCHEMA))
        .collect(),
        key=lambda row: str(row.path),
    )
    return {
        split: tuple(Shard(row.path, row.rows, row.sha256) for row in written if row.split == split)
        for split in Split
    }


def _sizes(assignment: DataFrame) -> DataFrame:
    """Shards and rows of each split."""
    return assignment.groupBy("split").agg((f.max("shard") + 1).alias("shards"), f.count("*").alias("rows"))


def _hash_of_lines(line: Column) -> Column:
    return f.sha2(f.array_join(f.sort_array(f.collect_list(line)), "\n"), 256)


def _shard_writer(
    storage: Storage, row_group_rows: int
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def write_shard(rows: pa.Table) -> dict[str, object]:
        ordered = rows.sort_by("position")
        split, shard = ordered["split"][0].as_py(), ordered["shard"][0].as_py()
        buffer = io.BytesIO()
        # JPEG does not compress further, and a dictionary of pictures is useless.
        pq.write_table(
            ordered.select(SHARD_SCHEMA.names).cast(SHARD_SCHEMA),
            buffer,
            row_group_size=row_group_rows,
            compression="none",
            use_dictionary=["label"],
            write_statistics=False,
        )
        content = buffer.getvalue()
        path = f"{split}/{shard:05d}.parquet"
        storage.write(path, content)
        return {"split": split, "path": path, "rows": len(ordered), "sha256": _sha256(content)}

    def write_partition(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        parts = [batch for batch in batches if batch.num_rows]
        if not parts:
            return
        rows = pa.Table.from_batches(parts)
        shards = (
            rows.group_by(["split", "shard"]).aggregate([]).to_pylist()
        )  # one, unless Spark joins partitions
        for shard in shards:
            mine = pc.and_(pc.equal(rows["split"], shard["split"]), pc.equal(rows["shard"], shard["shard"]))
            own = rows if len(shards) == 1 else rows.filter(mine)
            yield pa.RecordBatch.from_pylist([write_shard(own)], schema=_SHARD_SCHEMA)

    return write_partition


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
