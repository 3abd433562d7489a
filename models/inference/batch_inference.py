"""Batch inference on Spark: label all pictures of a table into another table."""

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa
from delta.tables import DeltaTable
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as f
from pyspark.sql import types as t

from conf.errors import UsageError
from conf.settings import Settings
from lake import tables
from lake.job_failures import job_errors
from lake.spark.session_properties import NO_CODEGEN, arrow_batch_limits, temporary_properties
from lake.table import Table
from models.inference.output_table import OutputTable
from models.inference.prediction import label_batch, load_in_task
from models.nets.devices import CPU_BATCH, prediction_batch
from models.registry import model_cards

PICTURE_COLUMNS = (
    "jpeg",
    "image",
    "content",
    "picture",
    "bytes",
    "data",
)  # names of picture columns, tried in this order
NAME_COLUMNS = (
    "image_id",
    "id",
    "path",
    "name",
)  # likewise; `path` and `content` are the columns of Spark's binaryFile
LAKE_TABLES = {Table.UPLOADS: "every accepted upload", Table.SAMPLES: "every image once"}
_GLOB = re.compile(r"[\[\]{}*?\\]")  # characters of Hadoop's path patterns
ARROW_BYTES = 32 * 2**20  # greatest size of an Arrow batch sent to a Python worker

RESULT = "image_id string, label string, probability double, error string, model_id string"
_ARROW = pa.schema(
    [
        ("image_id", pa.string()),
        ("label", pa.string()),
        ("probability", pa.float64()),
        ("error", pa.string()),
        ("model_id", pa.string()),
    ]
)


@dataclass(frozen=True)
class BatchInference:
    """Result of labelling a table.

    Args:
        target: the table written.
        pictures: number of rows written.
        errors: pictures that could not be read; their rows have an error and no label.
        loads: how often Python workers loaded the model.
        seconds: from the start of the Spark job to the commit, including the start of Python workers.
    """

    target: str
    pictures: int
    errors: int
    loads: int
    seconds: float


def predict_table(
    spark: SparkSession,
    settings: Settings,
    model_id: str,
    source: str,
    target: str = "",
    replace: bool = False,
) -> BatchInference:
    """Label every picture of a table and write the predictions to another table, all or nothing.

    A table that is replaced stays until the new one is complete.

    Args:
        spark: session to use.
        settings: of the hub.
        model_id: of the model.
        source: `uploads`, `samples`, or the path or URI of a Delta or Parquet table with a picture column.
        target: path or URI; Parquet if it ends in .parquet, else Delta; empty: predictions/MODEL in the lake.
        replace: overwrite an existing table; otherwise it is an error.

    Raises:
        UnknownModel, UnusableModel: no model has this id, or it is not ready.
        UsageError: the source does not exist or has no pictures, or the target exists.
        JobFailed: the pictures cannot be labelled, or the target cannot be written.
        StorageError: the target's place cannot be read.
    """
    card = model_cards.classifier_card(settings, model_id)
    files = model_cards.artifact_storage(settings, model_id)
    target = _uri(target or settings.lake.at("predictions", model_id))
    rows = _repartition(spark, read_pictures(spark, settings, source))
    output = OutputTable(spark, target)
    output.refuse_existing(replace)
    loads, counts, began = spark.sparkContext.accumulator(0), Observation(), time.monotonic()

    def label_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        model = load_in_task(card, files, loads)
        for batch in _fill(batches, prediction_batch(card.side)):
            names = batch["name"].to_pylist()
            contents = [_reader(batch["picture"], row) for row in range(len(batch))]
            labelled = list(label_batch(model, names, contents))
            columns = [names, [p.label for p in labelled], [p.probability for p in labelled]]
            columns += [[p.error for p in labelled], [card.model_id] * len(labelled)]
            arrays = [pa.array(column, field.type) for column, field in zip(columns, _ARROW, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=_ARROW)

    predictions = rows.mapInArrow(label_batches, RESULT)
    counted = predictions.observe(
        counts, f.count(f.lit(1)).alias("pictures"), f.count("error").alias("errors")
    )
    # The pictures of a batch must fit into the memory of a Python worker.
    with (
        temporary_properties(spark, NO_CODEGEN | arrow_batch_limits(CPU_BATCH, ARROW_BYTES)),
        job_errors(f"cannot label {source} into {target}"),
    ):
        output.write(counted)
    found = counts.get
    return BatchInference(target, found["pictures"], found["errors"], loads.value, time.monotonic() - began)


def _fill(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Join batches until they have `rows` rows, or as many bytes as one batch may have."""
    if rows <= CPU_BATCH:
        yield from batches
        return
    joined: list[pa.RecordBatch] = []
    for batch in batches:
        size = sum(part.num_rows for part in joined) + batch.num_rows
        if joined and (size > rows or sum(part.nbytes for part in joined) + batch.nbytes > ARROW_BYTES):
            yield pa.concat_batches(joined)
            joined = []
        joined.append(batch)
    if joined:
        yield pa.concat_batches(joined)


def _reader(column: pa.Array, row: int) -> Callable[[], bytes]:
    def read() -> bytes:
        content: bytes | None = column[row].as_py()
        if content is None:
            raise ValueError("it is null")
        return content

    return read


def read_pictures(spark: SparkSession, settings: Settings, source: str) -> DataFrame:
    """Read the pictures of a table into columns `name` (string) and `picture` (binary).

    Raises:
        UsageError: the table does not exist or has no such columns.
    """
    if source in LAKE_TABLES:
        return _read_lake_table(spark, settings, Table(source))
    place = _uri(source)
    try:
        if DeltaTable.isDeltaTable(spark, place):
            found = spark.read.format("delta").load(place)
        else:
            found = spark.read.parquet(_escape_glob(spark, place))
    except (PySparkException, Py4JJavaError) as error:
        lake_tables = ", ".join(LAKE_TABLES)
        raise UsageError(
            f"--table {source} is neither {lake_tables} nor a Delta or Parquet table: "
            f"{tables.first_line(error)}"
        ) from None
    picture = _find_column(found, source, PICTURE_COLUMNS, t.BinaryType())
    name = _find_column(found, source, NAME_COLUMNS, t.StringType())
    return found.select(f.col(name).alias("name"), f.col(picture).alias("picture"))


def _read_lake_table(spark: SparkSession, settings: Settings, table: Table) -> DataFrame:
    if not tables.exists(spark, settings.lake, Table.UPLOADS):
        raise UsageError(f"--table {table}: no tables in {settings.lake.root}: run `hub ingest` first")
    uploads = tables.read(spark, settings.lake, Table.UPLOADS).where("verdict = 'accepted'")
    if table is Table.SAMPLES:
        keys = tables.read(spark, settings.lake, Table.SAMPLES).select("image_id", "upload_id")
        uploads = uploads.join(
            f.broadcast(keys), ["image_id", "upload_id"]
        )  # keys are broadcast, so pictures are not shuffled
    return uploads.select(f.col("image_id").alias("name"), f.col("jpeg").alias("picture"))


def _find_column(found: DataFrame, source: str, names: tuple[str, ...], kind: t.DataType) -> str:
    for name in names:
        if name in found.columns and found.schema[name].dataType == kind:
            return name
    wanted = f"{kind.simpleString()} column named {', '.join(names[:-1])} or {names[-1]}"
    raise UsageError(f"--table {source} has no {wanted}; it has {', '.join(found.columns[:20])}")


def _repartition(spark: SparkSession, rows: DataFrame) -> DataFrame:
    """Repartition if there are too few files to give every core work."""
    cores = spark.sparkContext.defaultParallelism
    # Spark does not split a Parquet file within a row group, so a file may be a single task.
    return rows.repartition(4 * cores) if len(rows.inputFiles()) < 2 * cores else rows


def _escape_glob(spark: SparkSession, place: str) -> str:
    """Escape what Spark takes for a pattern, such as brackets, if a file or folder has just this name."""
    path = spark._jvm.org.apache.hadoop.fs.Path(place)  # type: ignore[union-attr]
    if _GLOB.search(place) and path.getFileSystem(spark._jsc.hadoopConfiguration()).exists(path):
        return _GLOB.sub(r"\\\g<0>", place)
    return place


def _uri(place: str) -> str:
    """The path or URI in the form that Spark needs: s3a:// or absolute."""
    if place.startswith("s3://"):
        return place.replace("s3://", "s3a://", 1)
    return place if "://" in place else os.path.abspath(place)  # noqa: PTH100 - the path may not exist yet
