"""The table `embeddings`: one row per image and model, written once."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from conf.settings import Settings
from lake import row_writer, tables
from lake.row_writer import literal
from lake.table import Table
from lake.table_files import TableFiles

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def vectors(spark: SparkSession, settings: Settings, model_id: str) -> DataFrame:
    """The vectors of a model: columns `image_id` and `vector`, one row per image.

    `organize.features.vectors.to_vectors` makes numbers of the column. Images whose stored picture cannot be
    decoded are left out. No rows before the table is created.
    """
    rows = of_model(spark, settings, model_id)
    return rows.where("vector IS NOT NULL").select("image_id", "vector")


def of_model(spark: SparkSession, settings: Settings, model_id: str) -> DataFrame:
    """All rows of a model, also those without a vector."""
    return tables.read_complete(spark, settings.lake, Table.EMBEDDINGS).where(f.col("model_id") == model_id)


def newest(settings: Settings, model_id: str) -> datetime:
    """The time of the newest rows of a model; 1970 if there are none. Read without Spark."""
    statement = f"SELECT max(created) AS newest FROM rows WHERE model_id = {literal(model_id)}"
    found = [row["newest"] for row in row_writer.query(settings, Table.EMBEDDINGS, statement)]
    return max((time for time in found if time is not None), default=BEGINNING)


def commits(rows: DataFrame) -> list[datetime]:
    """The times of the commits that wrote rows of `embeddings`, sorted."""
    return sorted(
        _time(row.us) for row in rows.select(f.unix_micros("created").alias("us")).distinct().collect()
    )


def of_commit(rows: DataFrame, commit: datetime) -> DataFrame:
    """The rows that a commit wrote."""
    return rows.where(f.col("created") == f.timestamp_micros(f.lit(_micros(commit))))


def count(settings: Settings, model_id: str) -> int:
    """The number of rows of a model. Read without Spark, from the statistics of files where they tell."""
    files = TableFiles.newest(settings, Table.EMBEDDINGS)
    return files.count_equal(settings, "model_id", model_id) if files else 0


def write(images: pa.Table, settings: Settings, model_id: str, after: datetime) -> datetime:
    """Append the vectors of new images, in one commit.

    Args:
        images: with image_id and vector; none of them has a row of this model.
        after: time of the newest rows of the model.

    Returns:
        the time of the new rows, later than `after` even if the clock was set back.
    """
    created = max(datetime.now(UTC), after + timedelta(microseconds=1))
    rows = [
        {"image_id": image_id, "model_id": model_id, "vector": vector, "created": created}
        for image_id, vector in zip(
            *(images[name].to_pylist() for name in ("image_id", "vector")), strict=True
        )
    ]
    row_writer.append(settings, Table.EMBEDDINGS, *rows)
    return created


def _time(micros: int) -> datetime:
    return BEGINNING + timedelta(microseconds=micros)


def _micros(time: datetime) -> int:
    return (time - BEGINNING) // timedelta(microseconds=1)
