"""Samples that have no embedding of a model yet, and their stored pictures in the ledger."""

from collections.abc import Collection, Sequence
from functools import reduce
from operator import and_

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql import types as t
from pyspark.sql.pandas.types import to_arrow_schema

from conf.settings import Settings
from lake import row_writer, tables
from lake.row_writer import literal
from lake.schemas import SAMPLES
from lake.table import Table
from organize.features import embeddings
from organize.follow.stages import IMAGE_COLUMNS, PICTURE_COLUMNS

KEYS = ["image_id", "upload_id"]
_SAMPLE_COLUMNS = [*IMAGE_COLUMNS, "event_time"]


def not_embedded(spark: SparkSession, settings: Settings, model_id: str) -> DataFrame:
    """Samples without an embedding of the model, with the columns of a sample that stages get."""
    samples = tables.read_complete(spark, settings.lake, Table.SAMPLES).select(*_SAMPLE_COLUMNS)
    known = embeddings.of_model(spark, settings, model_id).select("image_id")
    return samples.join(known, "image_id", "left_anti")


def of_images(settings: Settings, image_ids: Collection[str]) -> pa.Table:
    """The samples of the given images, as far as they have one.

    Read without Spark, as in `embedded`: in a small micro-batch its jobs would take most of the time.
    """
    schema = to_arrow_schema(t.StructType([SAMPLES[name] for name in _SAMPLE_COLUMNS]), timezone="UTC")
    if not image_ids:
        return schema.empty_table()
    where = f"image_id IN ({literal(*image_ids)})"
    rows = row_writer.read(settings, Table.SAMPLES, _SAMPLE_COLUMNS, where)
    return pa.Table.from_pylist(rows, schema=schema)


def embedded(settings: Settings, model_id: str, image_ids: Collection[str]) -> set[str]:
    """Those of the given images that have an embedding of the model; likewise."""
    if not image_ids:
        return set()
    where = f"model_id = {literal(model_id)} AND image_id IN ({literal(*image_ids)})"
    return {row["image_id"] for row in row_writer.read(settings, Table.EMBEDDINGS, ["image_id"], where)}


def without_sample(spark: SparkSession, settings: Settings) -> int:
    """The number of accepted images in the ledger that have no sample yet."""
    accepted = tables.read(spark, settings.lake, Table.UPLOADS).where("verdict = 'accepted'")
    samples = tables.read_complete(spark, settings.lake, Table.SAMPLES).select("image_id")
    return accepted.select("image_id").distinct().join(samples, "image_id", "left_anti").count()


def with_pictures(ledger: DataFrame, samples: pa.Table) -> DataFrame:
    """The given samples with their stored pictures; those whose upload is not in `ledger` are missing.

    Args:
        ledger: rows of `uploads`.
        samples: few enough to be sent to every executor.
    """
    rows = ledger.sparkSession.createDataFrame(samples).drop("event_time")
    accepted = ledger.where("verdict = 'accepted'").select(*KEYS, *PICTURE_COLUMNS)
    return accepted.join(f.broadcast(rows), KEYS).select(*IMAGE_COLUMNS, *PICTURE_COLUMNS)


def with_few_pictures(ledger: DataFrame, samples: pa.Table) -> pa.Table:
    """The same for a few samples, collected: one Spark job, and the join in this process."""
    wanted = [f.col("verdict") == "accepted"]
    wanted += [f.col(name).isin(samples[name].unique().to_pylist()) for name in KEYS]
    found = ledger.where(reduce(and_, wanted)).select(*KEYS, *PICTURE_COLUMNS).toArrow()
    return joined(samples, found, KEYS, PICTURE_COLUMNS).select([*IMAGE_COLUMNS, *PICTURE_COLUMNS])


def joined(left: pa.Table, right: pa.Table, keys: Sequence[str], columns: Sequence[str]) -> pa.Table:
    """The rows of `left` that `right` has, too, with columns of it: Arrow's join refuses columns of lists.

    Args:
        keys: columns of text that both have, once each in `right`.
    """
    of_left, of_right = (
        list(zip(*(rows[name].to_pylist() for name in keys), strict=True)) for rows in (left, right)
    )
    place = {key: row for row, key in enumerate(of_right)}
    kept = left.filter(pa.array([key in place for key in of_left], pa.bool_()))
    chosen = right.take(pa.array([place[key] for key in of_left if key in place], pa.int64()))
    for name in columns:
        kept = kept.append_column(name, chosen[name])
    return kept


def ledger_of(spark: SparkSession, settings: Settings, samples: pa.Table) -> DataFrame:
    """The part of the ledger that has the uploads of samples: Delta skips files of other times.

    Without that, the pictures of the whole ledger would be read for a few images.
    """
    ledger = tables.read(spark, settings.lake, Table.UPLOADS)
    times = samples["event_time"].cast(pa.int64())  # microseconds
    if not len(times) or times.null_count:
        return ledger
    low, high = (f.timestamp_micros(f.lit(micros.as_py())) for micros in pc.min_max(times).values())
    return ledger.where(f.col("event_time").between(low, high))
