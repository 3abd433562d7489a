"""Shards of a dataset snapshot: assigning samples to them, and writing each in one Spark task."""

import hashlib
import io
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as f
from pyspark.sql.pandas.types import from_arrow_schema

from lake.snapshot import SHARD_SCHEMA, Shard, Split
from lake.storage import Storage

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


def write(samples: DataFrame, storage: Storage, row_group_rows: int) -> dict[Split, tuple[Shard, ...]]:
    """Write one Parquet file per split and shard.

    Args:
        samples: with split, shard, position, image_id, label (the index) and jpeg.
        storage: of the snapshot's folder.
        row_group_rows: rows per Parquet row group, which a reader fetches at once.

    Raises:
        PySparkException: a task could not write its file.
    """
    written = (
        samples.groupBy("split", "shard")
        .applyInArrow(_shard_writer(storage, row_group_rows), from_arrow_schema(_SHARD_SCHEMA))
        .orderBy("path")
        .collect()
    )
    return {
        split: tuple(Shard(row.path, row.rows, row.sha256) for row in written if row.split == split)
        for split in Split
    }


def _hash_of_lines(line: Column) -> Column:
    return f.sha2(f.array_join(f.sort_array(f.collect_list(line)), "\n"), 256)


def _shard_writer(storage: Storage, row_group_rows: int) -> Callable[[pa.Table], pa.Table]:
    def write_shard(rows: pa.Table) -> pa.Table:
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
        shard_row = {"split": split, "path": path, "rows": len(ordered), "sha256": _sha256(content)}
        return pa.Table.from_pylist([shard_row], schema=_SHARD_SCHEMA)

    return write_shard


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
